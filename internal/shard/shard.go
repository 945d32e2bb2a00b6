// Package shard splits destinations among processes that know nothing of each other.
// Every process finds the same destinations, and each keeps those that are its own.
//
// It is pure, and its choice never changes: shards of different versions of the program,
// or on different machines, agree about what is whose.
package shard

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Most is how many shards there can be. Deciding about a destination takes as many steps.
const Most = 1024

// Shard is one of several parts of all destinations. The zero Shard is the whole.
type Shard struct {
	index, of int
}

// New returns one of a number of shards, which are counted from 0.
func New(index, of int) (Shard, error) {
	if of < 1 || of > Most {
		return Shard{}, fmt.Errorf("%d shards: expected 1 to %d", of, Most)
	}
	if index < 0 || index >= of {
		return Shard{}, fmt.Errorf("shard %d of %d: shards are counted from 0, so expected 0 to %d", index, of, of-1)
	}
	return Shard{index: index, of: of}, nil
}

// Parse reads a shard as String writes it: "0/4" is the first of four.
func Parse(s string) (Shard, error) {
	index, of, found := strings.Cut(s, "/")
	i, indexErr := strconv.Atoi(index)
	n, ofErr := strconv.Atoi(of)
	if !found || indexErr != nil || ofErr != nil {
		return Shard{}, fmt.Errorf("%q is no shard: expected i/N, such as 0/4 for the first of four", s)
	}
	return New(i, n)
}

// Whole reports whether the shard is all there is. A single shard is not the zero Shard
// but does the same.
func (s Shard) Whole() bool { return s.of <= 1 }

// Index is which shard it is, counted from 0.
func (s Shard) Index() int { return s.index }

// String writes the shard as Parse reads it; "" for the zero Shard.
func (s Shard) String() string {
	if s.of == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.index, s.of)
}

// Has reports whether a destination is this shard's. Exactly one of N shards has it,
// whatever its tags. Where a shard is added it takes its share from all the others, and
// nothing else changes hands: each shard draws a number for the destination, and the
// highest has it (rendezvous hashing).
func (s Shard) Has(destination ref.Repository) bool {
	if s.Whole() {
		return true
	}
	name := sha256.Sum256([]byte(destination.String()))
	seed := binary.BigEndian.Uint64(name[:])
	owner, highest := 0, draw(seed, 0)
	for i := 1; i < s.of; i++ {
		if drawn := draw(seed, i); drawn > highest {
			owner, highest = i, drawn
		}
	}
	return owner == s.index
}

// draw is the number that a shard draws for a destination: the i-th of the sequence that
// splitmix64 makes of a seed.
func draw(seed uint64, i int) uint64 {
	z := seed + uint64(i+1)*0x9e3779b97f4a7c15 //nolint:gosec // i is at least 0
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Part is this shard's part of n things that all shards may use up together. The parts of
// all shards add up to n.
func (s Shard) Part(n int) int {
	if s.Whole() {
		return n
	}
	part := n / s.of
	if s.index < n%s.of {
		part++
	}
	return part
}

// Rate is this shard's part of a rate that is granted to all shards together, but no less
// than least. What is granted is never exceeded by one shard alone. 0, which stands for no
// limit, stays 0.
func (s Shard) Rate(granted, least float64) float64 {
	if s.Whole() {
		return granted
	}
	return min(granted, max(least, granted/float64(s.of)))
}
