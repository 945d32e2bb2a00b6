package tests

import "testing"

func TestHelmLint(t *testing.T) {
	for _, file := range files(t, chart+"/ci/*-values.yaml") {
		helm(t, "lint", "--strict", chart, "--values", file)
	}
}
