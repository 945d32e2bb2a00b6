package faults

// A Figure is what a release is judged by, as a run of the tests says it.
type Figure struct {
	Name string
	Goal int
	Cap  bool // the goal is the most there may be; otherwise the least
	Peak bool // of what several tests say, the largest counts; otherwise the sum
}

// Names of figures.
const (
	CrashPoints        = "crash points"
	BrokenTags         = "broken tags"
	Unconverged        = "runs that did not arrive afterwards"
	RetryCells         = "retry cells tried"
	RetryRecovered     = "retry cells recovered"
	StallPastLimit     = "stall to error past its limit, ms"
	SilentSuccesses    = "silent successes"
	Canaries           = "canaries found"
	ForeignCredentials = "credentials at a foreign host"
	CredentialWays     = "ways a credential was tempted" //nolint:gosec // a name for a count
	EgressEscapes      = "egress escapes"
	EgressWays         = "egress ways tried"
	FailingCopies      = "failing copies"
	LeakedGoroutines   = "goroutines leaked"
	LeakedDescriptors  = "descriptors leaked"
	SIGTERMPastGrace   = "SIGTERM to exit past the grace, ms"
)

// Figures returns all figures with their goals.
func Figures() []Figure {
	return []Figure{
		{Name: CrashPoints, Goal: 1000},
		{Name: BrokenTags, Cap: true},
		{Name: Unconverged, Cap: true},
		{Name: RetryCells, Goal: 104},
		{Name: RetryRecovered, Goal: 100},
		{Name: StallPastLimit, Goal: 1000, Cap: true, Peak: true},
		{Name: SilentSuccesses, Cap: true},
		{Name: Canaries, Cap: true},
		{Name: CredentialWays, Goal: 7},
		{Name: ForeignCredentials, Cap: true},
		{Name: EgressWays, Goal: 28},
		{Name: EgressEscapes, Cap: true},
		{Name: FailingCopies, Goal: 1000},
		{Name: LeakedGoroutines, Cap: true},
		{Name: LeakedDescriptors, Cap: true},
		{Name: SIGTERMPastGrace, Goal: 1000, Cap: true, Peak: true},
	}
}

// Met reports whether n meets the goal.
func (f Figure) Met(n int) bool {
	if f.Cap {
		return n <= f.Goal
	}
	return n >= f.Goal
}
