// Package shop adds up.
package shop

import "fmt"

// Total of prices, in cents.
func Total(prices ...int) int {
	total := 0
	for _, price := range prices {
		total += price
	}
	return total
}

// Label of a price in cents.
func Label(price int) string {
	return fmt.Sprintf("%d.%02d", price/100, price%100)
}
