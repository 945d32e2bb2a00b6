package faults

import (
	"slices"
	"strings"
)

// Class is a row of the catalogue: a class of faults, or an invariant.
type Class struct {
	ID       string
	Fault    string // of an invariant: its name
	Expected string
	Open     string // why no test covers it; "" where one should
}

// Find returns the class with an identifier.
func Find(id string) (Class, bool) {
	for _, c := range Catalogue() {
		if c.ID == id {
			return c, true
		}
	}
	return Class{}, false
}

// Invariant reports whether c is one.
func (c Class) Invariant() bool { return strings.HasPrefix(c.ID, "I") }

// Catalogue returns all classes, and then the invariants.
func Catalogue() []Class {
	return slices.Concat(network(), content(), cloud(), process(), hostile(), invariants())
}

// network are faults of the network and HTTP.
func network() []Class {
	return []Class{
		{ID: "F01", Fault: "connection refused", Expected: "tried again with pauses; that item fails, others go on"},
		{ID: "F02", Fault: "DNS failure that heals, or NXDOMAIN", Expected: "a temporary one is tried again, NXDOMAIN is not"},
		{ID: "F03", Fault: "a DNS answer flips to a private address", Expected: "refused when the address is dialled"},
		{ID: "F04", Fault: "TLS: unknown authority, expired, wrong name", Expected: "the reason is said; never plain HTTP instead"},
		{ID: "F05", Fault: "connection reset at byte N of a layer", Expected: "resumed by Range, or the blob begun again"},
		{ID: "F06", Fault: "reset, and the registry ignores Range", Expected: "the blob is begun again, a bounded number of times"},
		{ID: "F07", Fault: "wrong Content-Range, or 206 with other bytes", Expected: "the digest shows it; begun again once, then an error"},
		{ID: "F08", Fault: "a layer ends early in an orderly way", Expected: "refused and tried again"},
		{ID: "F09", Fault: "a body is longer than announced", Expected: "refused"},
		{ID: "F10", Fault: "upstream stalls in the middle of a layer", Expected: "noticed and tried again"},
		{ID: "F11", Fault: "response headers never come", Expected: "a deadline, and another try"},
		{ID: "F12", Fault: "the destination stops reading", Expected: "noticed and tried again"},
		{ID: "F13", Fault: "one byte a second for ever", Expected: "a least rate is asked for"},
		{ID: "F14", Fault: "a connection is accepted and closed", Expected: "tried again"},
		{ID: "F15", Fault: "500, 502, 503 or 504 once, at each kind of request", Expected: "success after another try"},
		{ID: "F16", Fault: "5xx for ever", Expected: "a bounded number of tries; the host is then left alone, others go on"},
		{ID: "F17", Fault: "429 with any Retry-After, at reads and writes", Expected: "heeded within reason, for the whole host"},
		{ID: "F18", Fault: "401 in the middle of a run", Expected: "signed in again once, the request repeated"},
		{ID: "F19", Fault: "403 at one repository of many", Expected: "the others are done; the refusal is worded"},
		{ID: "F20", Fault: "a tag is deleted between listing and copying", Expected: "reported as such, the others go on"},
		{ID: "F21", Fault: "a manifest is refused: 400, 405, 415", Expected: "an error at once, no other try"},
		{ID: "F22", Fault: "writing a manifest is redirected to a login page", Expected: "seen by reading back"},
		{ID: "F23", Fault: "a captive portal: 200 and HTML for everything", Expected: "no success"},
		{ID: "F24", Fault: "redirects without end", Expected: "no more than 5"},
		{ID: "F25", Fault: "a redirect from https to http", Expected: "refused"},
		{ID: "F26", Fault: "a registry dies and comes back", Expected: "waits, goes on, arrives"},
		{ID: "F27", Fault: "a registry dies and stays dead", Expected: "what is left of that host fails fast, others finish"},
		{ID: "F28", Fault: "an idle connection was closed by the peer", Expected: "repeated unseen"},
		{ID: "F29", Fault: "a proxy that is wrong or asks for a password", Expected: "the proxy is named, its password is not"},
		{ID: "F30", Fault: "compressed JSON that inflates without end", Expected: "a limit after inflating, or never inflated"},
		{ID: "F31", Fault: "10 MiB of response headers", Expected: "a limit and a clear error"},
		{ID: "F32", Fault: "clocks that differ by an hour", Expected: "tokens are not fetched for each request; the skew is said"},
	}
}

// content are faults of what registries serve.
func content() []Class {
	return []Class{
		{ID: "F33", Fault: "a bit of a layer is flipped", Expected: "refused, read once more, then called corrupt; never tagged"},
		{ID: "F34", Fault: "a bit of a manifest is flipped", Expected: "refused: the bytes do not have the pinned digest"},
		{ID: "F35", Fault: "Docker-Content-Digest lies, is missing or is no digest", Expected: "the bytes are hashed; the header is a hint"},
		{ID: "F36", Fault: "a tag moves while it is copied", Expected: "the planned digest is copied; the next run sees the move"},
		{ID: "F37", Fault: "an index's child is missing", Expected: "the tag stays; the child is named"},
		{ID: "F38", Fault: "a child listed twice, hundreds of children, cycles", Expected: "each once; limits of depth and number"},
		{ID: "F39", Fault: "an index in an index", Expected: "copied digest for digest"},
		{ID: "F40", Fault: "manifests of 4, 5 and 50 MiB", Expected: "too large ones are refused before they are in memory"},
		{ID: "F41", Fault: "malformed JSON, duplicate keys, deep nesting", Expected: "an error that names the digest"},
		{ID: "F42", Fault: "a manifest that is two things, or not what its header says", Expected: "refused"},
		{ID: "F43", Fault: "sizes that are negative, huge or wrong", Expected: "compared with the bytes"},
		{ID: "F44", Fault: "digests that are none", Expected: "refused before any request"},
		{ID: "F45", Fault: "schema 1, unknown types, artifacts, an empty config", Expected: "artifacts arrive; unknown types are rows with a reason"},
		{ID: "F46", Fault: "a foreign layer whose URL is an internal host", Expected: "never fetched"},
		{ID: "F47", Fault: "a layer that is a bomb when unpacked", Expected: "never unpacked"},
		{ID: "F48", Fault: "an uncompressed layer", Expected: "keeps its digest"},
		{ID: "F49", Fault: "the destination lies about a blob's size", Expected: "it is uploaded anyway"},
		{ID: "F50", Fault: "the destination drops a blob after its upload", Expected: "brought again once"},
		{ID: "F51", Fault: "a mount is granted and the blob is not there", Expected: "noticed, and uploaded"},
		{ID: "F52", Fault: "10,000 tags, 1,000 repositories", Expected: "memory is bounded; 2 requests for an unchanged tag"},
		{ID: "F53", Fault: "page links that loop or lead elsewhere", Expected: "an error after a repetition or a limit"},
		{ID: "F54", Fault: "300 MiB of tags", Expected: "a limit"},
		{ID: "F55", Fault: "tags that are none", Expected: "left out and reported, the others go on"},
		{ID: "F56", Fault: "a tag is deleted upstream", Expected: "the copy stays and is reported; removed only where asked"},
	}
}

// cloud are faults of clouds, credentials and permissions.
func cloud() []Class {
	return []Class{
		{ID: "F57", Fault: "ECR throttles its API, with status 400", Expected: "tried again often; not called a refusal"},
		{ID: "F58", Fault: "ECR throttles uploads and manifests, with status 429", Expected: "paced for each registry"},
		{ID: "F59", Fault: "the ECR password cannot be had, or expires", Expected: "renewed in time; a refused one is not used again"},
		{ID: "F60", Fault: "a web identity token is rotated or missing", Expected: "read again; the error names the role"},
		{ID: "F61", Fault: "an immutable tag with the same digest", Expected: "in sync, nothing is written"},
		{ID: "F62", Fault: "an immutable tag with another digest", Expected: "a conflict, exit code 1, not tried again"},
		{ID: "F63", Fault: "the destination's repository is missing", Expected: "created where allowed, else said; not tried again"},
		{ID: "F64", Fault: "a quota of images answers 403", Expected: "its words are shown"},
		{ID: "F65", Fault: "one repository is denied during discovery", Expected: "the others go on; nothing is removed on such a list"},
		{ID: "F66", Fault: "resource tags that are missing, malformed, contradictory", Expected: "that repository is a row, the others go on"},
		{ID: "F67", Fault: "a page token repeats or expires", Expected: "noticed, and begun again once"},
		{ID: "F68", Fault: "the wrong Region or account", Expected: "named"},
		{ID: "F69", Fault: "token services of Google and Azure refuse or fail", Expected: "one scope for each repository; the refusal is said"},
		{ID: "F70", Fault: "S3: slow down, lost writes, conflicts", Expected: "each write is checked, what is served last is written last"},
		{ID: "F71", Fault: "a credential helper is missing, slow or noisy", Expected: "a deadline; its output is not shown"},
		{ID: "F72", Fault: "an auth file is missing, unreadable or no JSON", Expected: "an error, never anonymous instead"},
	}
}

// process are faults of the process, its state and its configuration.
func process() []Class {
	return []Class{
		{ID: "F73", Fault: "SIGTERM in the middle of a copy", Expected: "nothing new begins; a summary, exit code 143, tags old or new"},
		{ID: "F74", Fault: "a second signal", Expected: "the end at once"},
		{ID: "F75", Fault: "SIGKILL at each request", Expected: "the next run arrives; nothing blocks it"},
		{ID: "F76", Fault: "the answer is lost after the registry acted", Expected: "the next run arrives; a failure is never called a success"},
		{ID: "F77", Fault: "two runs at once", Expected: "both write only complete images"},
		{ID: "F78", Fault: "somebody else pushes the tag meanwhile", Expected: "looked at right before it is written, and left alone"},
		{ID: "F79", Fault: "a daemon's cycle outlasts its interval, clocks jump", Expected: "no two at once, no burst"},
		{ID: "F80", Fault: "discovery finds nothing, or half", Expected: "nothing is removed"},
		{ID: "F81", Fault: "the disk is full or read-only", Expected: "registries need no disk; what needs it fails alone"},
		{ID: "F82", Fault: "the state file is torn, newer, or not ours", Expected: "a cache only: never trusted for being in sync"},
		{ID: "F83", Fault: "no file descriptors left", Expected: "slower, or a clear error; no panic"},
		{ID: "F84", Fault: "128 MiB of memory, large layers side by side", Expected: "layers are streamed"},
		{ID: "F85", Fault: "a panic in one worker", Expected: "that item fails, the others go on"},
		{ID: "F86", Fault: "YAML: typos, unknown keys, wrong types", Expected: "exit code 10 before any request, with line and suggestion"},
		{ID: "F87", Fault: "YAML: alias bombs, 100 MiB, deep nesting, BOM, CRLF", Expected: "refused soon, in little memory"},
		{ID: "F88", Fault: "destinations that overlap, cycles, a mirror of itself", Expected: "exit code 10, both named"},
		{ID: "F89", Fault: "expressions that are wrong or expensive", Expected: "linear time, limited length"},
		{ID: "F90", Fault: "an unset environment variable in the file", Expected: "exit code 10, not an empty text"},
		{ID: "F91", Fault: "a daemon reads a broken file", Expected: "keeps the last good one and says so"},
		{ID: "F92", Fault: "slow clients of the metrics server, its port taken", Expected: "own timeouts; stuck work is not healthy"},
		{ID: "F93", Fault: "stdout is closed, the log's disk is full", Expected: "no hang; the exit code stays"},
	}
}

// hostile are faults that somebody wants.
func hostile() []Class {
	return []Class{
		{ID: "F94", Fault: "upstream, realm, redirect, Location, Link or layer URL is an internal address", Expected: "refused when it is dialled; the place is named"},
		{ID: "F95", Fault: "a token realm on another host", Expected: "no credential for it, unless it is named"},
		{ID: "F96", Fault: "an upload Location on another host", Expected: "no credential for it"},
		{ID: "F97", Fault: "a redirect to a sub-domain", Expected: "no credential for it"},
		{ID: "F98", Fault: "names with .., %2f, upper case, look-alikes", Expected: "refused by the grammar; paths stay inside"},
		{ID: "F99", Fault: "control characters in tags, errors, warnings", Expected: "escaped everywhere"},
		{ID: "F100", Fault: "secrets in logs, errors, reports, metrics", Expected: "none, at any level"},
		{ID: "F101", Fault: "an error body of 1 GiB", Expected: "a short, escaped part of it"},
		{ID: "F102", Fault: "a resource tag points to a hostile upstream", Expected: "only allowed upstreams are followed"},
		{ID: "F103", Fault: "an upstream tag is replaced by another image", Expected: "signatures, digests and pins decide"},
		{ID: "F104", Fault: "an image arrives without its signature", Expected: "signatures first; required ones decide about the tag"},
		{ID: "F105", Fault: "short names that mean another registry", Expected: "one meaning, never searched"},
	}
}

// invariants are what holds always.
func invariants() []Class {
	return []Class{
		{ID: "I1", Fault: "Atomic tag", Expected: "whatever happens, a tag is a complete image, the old or the planned one"},
		{ID: "I2", Fault: "No invention", Expected: "every digest was upstream's, byte for byte"},
		{ID: "I3", Fault: "Idempotence", Expected: "a second run writes nothing"},
		{ID: "I4", Fault: "Convergence", Expected: "after any faults, one run without them arrives"},
		{ID: "I5", Fault: "Plan is apply", Expected: "what is written is what was planned; planning writes nothing"},
		{ID: "I6", Fault: "Isolation", Expected: "one item's failure is its own"},
		{ID: "I7", Fault: "No loss", Expected: "nothing is removed unless asked, in doubt nothing"},
		{ID: "I8", Fault: "Monotone knowledge", Expected: "in sync is said only of what was read in this run"},
		{ID: "I9", Fault: "Order freedom", Expected: "the result does not depend on concurrency or order"},
		{ID: "I10", Fault: "Concurrency safety", Expected: "two runs at once leave one of the two plans for each tag"},
		{ID: "I11", Fault: "Exit code truth", Expected: "exit code 0 means that an independent check passes"},
		{ID: "I12", Fault: "Report truth", Expected: "the report's counts are the registry's"},
		{ID: "I13", Fault: "Bounded", Expected: "time, memory, goroutines, descriptors, files"},
		{ID: "I14", Fault: "Secrecy", Expected: "no secret in any sink; a credential goes only to its host"},
		{ID: "I15", Fault: "Egress", Expected: "connections go only to allowed addresses"},
		{ID: "I16", Fault: "Parser totality", Expected: "no input makes a parser panic, hang or eat memory"},
		{ID: "I17", Fault: "Cancel promptness", Expected: "after the end of the context nothing is written, and it returns soon"},
		{ID: "I18", Fault: "Drift detection", Expected: "every changed bit is found by verify --deep"},
	}
}
