package registry

// Settings are how one registry host is spoken to. The zero Settings is TLS with a
// certificate that the system's authorities vouch for.
type Settings struct {
	Security   Security
	CA         string // a PEM file of authorities to trust besides the system's; "" for none
	Cert, Key  string // PEM files of a client certificate and its key; "" for none
	CertDir    string // *.crt, *.cert and *.key, as docker and podman keep them; "" for none
	MinVersion uint16 // of TLS, such as tls.VersionTLS13; 0 means TLS 1.2

	// CertFolders each hold directories like CertDir, by host. The first that has one for
	// the host is used where CA, Cert and CertDir name nothing.
	CertFolders []string

	TokenService string // HOST or HOST:PORT that gets the credential besides the registry's own site; "" for none

	SmallRequests int // requests without a blob at once; 0 leaves it to the transport
	BlobStreams   int // blobs read at once, and blobs written at once; 0 leaves it to the transport
}

// Security says what of TLS a registry host may do without.
type Security int

// The kinds of security. All but the first are for hosts that an operator named.
const (
	Verified   Security = iota // TLS, and the certificate is verified
	Unverified                 // TLS with any certificate
	Plain                      // no TLS
	Insecure                   // TLS with any certificate, or no TLS where there is none
)

// AnyCertificate reports whether certificates go unverified.
func (s Security) AnyCertificate() bool { return s == Unverified || s == Insecure }

// MayBePlain reports whether the host may be asked without TLS.
func (s Security) MayBePlain() bool { return s == Plain || s == Insecure }
