//go:build !linux

package ecrlocaltest

func inMemory() string { return "" }
