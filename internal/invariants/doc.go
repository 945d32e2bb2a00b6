// Package invariants holds the tests of what must be true of whole runs, whatever fails:
// I1 to I18 of the catalogue in package faults. They run the program, or all of it below
// its command line, between real registries that fail by rules (package faultreg), and
// have an independent walker judge what the destination holds.
//
// `make faults` sweeps over every request of a run; other runs take a sample of them.
package invariants
