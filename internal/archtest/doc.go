// Package archtest holds the repository to its own map: which folder may
// import which, what every package and file owes its reader, and that
// ARCHITECTURE.md names the folders that exist.
//
// The tests read the source themselves rather than ask the go command, so that
// the test cache sees every change.
package archtest
