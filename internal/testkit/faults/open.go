package faults

// open says why classes have no test, by their identifiers. A class that is neither here
// nor covered is one that somebody forgot.
func open() map[string]string {
	return map[string]string{
		"F02":  "names are looked up by package net, whose answers a test cannot make without a resolver of its own; only that a host does not exist is told apart",
		"F04":  "an unknown authority is refused by name in the test script tls; certificates that are out of date or another's are crypto/tls's own to refuse",
		"F52":  "`make bench` measures it, as its workload scale; the tests bound what an action takes",
		"F83":  "a limit of descriptors holds for the whole process, the test's registries included",
		"F84":  "a limit of memory holds for the whole process; `make bench` measures what large layers take",
		"F105": "a name without a host has Docker's meaning by design, and is searched for nowhere",
	}
}
