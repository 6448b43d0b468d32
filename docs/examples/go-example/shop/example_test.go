package shop_test

import (
	"fmt"

	"example.com/shop/shop"
)

func Example() {
	fmt.Println(shop.Label(1999))
	// Output: 19.99
}

func ExampleTotal() {
	fmt.Println(shop.Total(1, 2))
	// Output: 4
}

// Without an output it is compiled and not run.
func ExampleLabel() {
	fmt.Println(shop.Label(1))
}
