package faults

// open says why classes have no test, by their identifiers.
func open() map[string]string {
	return map[string]string{}
}
