// Package apicheck holds the descriptions of the API to the official rules of
// OpenAPI 3.1 and AsyncAPI 3.0, and the running server to the descriptions. It
// is a module of its own, so that its validators are not the product's.
//
// The rules of AsyncAPI come as an npm package: make test installs it.
package apicheck
