package faults

// open says why classes have no test, by their identifiers. A class that is neither here
// nor covered is one that somebody forgot.
func open() map[string]string {
	return map[string]string{
		"F83":  "a limit of descriptors holds for the whole process, the test's registries included",
		"F84":  "a limit of memory holds for the whole process; `make bench` measures what large layers take",
		"F105": "a name without a host has Docker's meaning by design, and is searched for nowhere",
	}
}
