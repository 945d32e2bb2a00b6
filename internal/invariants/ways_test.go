package invariants_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faultreg"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// way is how a registry leads its clients to another host.
type way struct {
	name string
	lead func(b *bench, to string) // makes the registries do so
	ask  func(b *bench, ctx context.Context) error
}

var ways = []way{
	{"manifest redirect", leading(faultreg.ManifestGet), (*bench).manifest},
	{"manifest HEAD redirect", leading(faultreg.ManifestHead), func(b *bench, ctx context.Context) error {
		_, err := b.client.Resolve(ctx, b.upstream().Tagged(b.tag))
		return err
	}},
	{"blob redirect", leading(faultreg.BlobGet), (*bench).copies},
	{"upload Location", func(b *bench, to string) {
		b.down.Inject(faultreg.Rule{Kind: faultreg.UploadPost, Times: -1, Match: signed, Do: faultreg.Status(http.StatusAccepted, "Location", to+"/upload")})
	}, (*bench).copies},
	{"Link", func(b *bench, to string) {
		b.up.Inject(faultreg.Rule{Kind: faultreg.Tags, Times: -1, Match: signed, Do: func(x *faultreg.Exchange) {
			x.Header().Set("Link", "<"+to+`/v2/team/app/tags/list?n=1000>; rel="next"`)
			faultreg.Say("application/json", `{"tags":["a"]}`)(x)
		}})
	}, (*bench).tags},
	{"redirected list", leading(faultreg.Tags), (*bench).tags},
}

// leading redirects requests of a kind, once they have shown who asks.
func leading(kind faultreg.Kind) func(b *bench, to string) {
	return func(b *bench, to string) {
		b.up.Inject(faultreg.Rule{Kind: kind, Times: -1, Match: signed, Do: faultreg.Redirect(http.StatusTemporaryRedirect, to+"/data")})
	}
}

func signed(e faultreg.Entry) bool { return e.Authorization != "" }

func (b *bench) manifest(ctx context.Context) error {
	_, err := b.client.Manifest(ctx, b.upstream().Digested(b.image.Digest()))
	return err
}

func (b *bench) tags(ctx context.Context) error {
	for _, err := range b.client.Tags(ctx, b.upstream()) {
		if err != nil {
			return err
		}
	}
	return nil
}

// Wherever a registry leads to, its password and its tokens do not go along; and where it
// leads is asked nothing that it could take them from.
func TestCredentialsDoNotFollow(t *testing.T) {
	tempted, leaked := 0, 0
	for _, challenge := range []string{"", `Basic realm="give it to me"`} {
		for _, way := range ways {
			b := newBench(t, time.Minute, 0)
			if err := b.bring(t.Context(), "1"); err != nil {
				t.Fatal(err)
			}
			stranger := faultreg.Start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if challenge != "" {
					w.Header().Set("WWW-Authenticate", challenge)
					w.WriteHeader(http.StatusUnauthorized)
				}
			}))
			way.lead(b, stranger.URL)
			_ = way.ask(b, t.Context()) // it need not fail
			tempted++
			if slices.ContainsFunc(stranger.Journal(), signed) {
				leaked++
				t.Errorf("%s: the stranger saw %+v", way.name, stranger.Journal())
			}
		}
	}
	faults.Covers(t, "F96", "I14")
	faults.Measured(t, faults.CredentialWays, tempted)
	faults.Measured(t, faults.ForeignCredentials, leaked)
}

// No way leads to where clouds keep the credentials of machines, however that address is
// written.
func TestNoWayLeadsToMetadata(t *testing.T) {
	forms := []string{"169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "[fe80::a9fe:a9fe]"}
	all := append(slices.Clone(ways), way{"realm", func(b *bench, to string) {
		b.up.Inject(faultreg.Rule{Times: -1, Do: faultreg.Status(401, "WWW-Authenticate", `Bearer realm="`+to+`/token"`)})
	}, (*bench).manifest}, way{"upstream itself", func(b *bench, to string) {
		b.client = transport.New(transport.Options{
			Credentials: auth.Anonymous{},
			Settings:    func(string) registry.Settings { return registry.Settings{Security: registry.Insecure} },
		})
		b.elsewhere = strings.TrimPrefix(to, "http://")
	}, (*bench).manifest})
	var tried, escaped atomic.Int32
	var side sync.WaitGroup
	for _, form := range forms {
		for _, way := range all {
			b := newBench(t, 5*time.Second, 0)
			if err := b.bring(t.Context(), "1"); err != nil {
				t.Fatal(err)
			}
			way.lead(b, "http://"+form+":80")
			tried.Add(1)
			side.Go(func() {
				// Whoever dials finds out that nobody is there, or waits.
				if err := way.ask(b, t.Context()); !refused(err) {
					escaped.Add(1)
					t.Errorf("%s to %s: %v", way.name, form, err)
				}
			})
		}
		side.Wait()
	}
	faults.Covers(t, "F94", "I15")
	faults.Measured(t, faults.EgressWays, int(tried.Load()))
	faults.Measured(t, faults.EgressEscapes, int(escaped.Load()))
}

// refused reports whether an address was refused, and not merely found to be silent.
func refused(err error) bool {
	return err != nil && (errors.Is(err, registry.ErrPermanent) || strings.Contains(err.Error(), "refused: clouds") || strings.Contains(err.Error(), "link-local"))
}
