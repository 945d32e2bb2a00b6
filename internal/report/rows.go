package report

import "iter"

// Rows are the rows of a report. Each is made when it is asked for, from what the run
// holds anyway: a run may have a hundred thousand. The zero Rows are none.
type Rows struct {
	count int
	row   func(i int) Row
}

// Len returns how many rows there are.
func (r Rows) Len() int { return r.count }

// At returns the row at i, from 0.
func (r Rows) At(i int) Row { return r.row(i) }

// All yields every row and where it stands.
func (r Rows) All() iter.Seq2[int, Row] {
	return func(yield func(int, Row) bool) {
		for i := range r.count {
			if !yield(i, r.row(i)) {
				return
			}
		}
	}
}

// MarshalJSON makes them a list. Write makes the same, row by row.
func (r Rows) MarshalJSON() ([]byte, error) {
	list := make([]Row, 0, r.count)
	for _, row := range r.All() {
		list = append(list, row)
	}
	return newEncoder("").encode(list)
}
