// Package soak holds a test that lets the daemon live through what a year brings, in minutes:
// upstream tags that move, configurations that change and break, registries that refuse and
// fall silent, repositories that come and go, and ends of every kind. All the while, what
// the daemon says of itself has to agree with what the registries saw.
//
// make soak runs it for as long as SOAK says; make test runs each event once.
package soak
