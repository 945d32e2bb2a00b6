package bucket

// Sized returns o with other sizes of what is sent as a whole, and of parts.
func (o Options) Sized(single, part int64) Options {
	o.tuning = tuning{single: single, part: part}
	return o
}
