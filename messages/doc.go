// Package messages is the schema of the marketplace and what follows from it:
// the generated Go types below marketplace/, the route table, the errors with
// their codes, validation, and the one JSON setting that all doors share.
//
// # Audiences
//
// marketplace/v1 is what clients say and hear. marketplace/journal/v1 is what
// is written and never sent. marketplace/task/v1 is what actors ask of the
// outside and of each other. marketplace/cluster/v1 is what processes of one
// marketplace say to each other. marketplace/options/v1 annotates the others.
package messages

//go:generate go run ../cmd/protoc-gen-market
