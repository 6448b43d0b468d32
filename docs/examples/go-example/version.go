// Package shop is the root package: the ids of its tests have no directory.
package shop

// Version of the shop.
const Version = "1.0"
