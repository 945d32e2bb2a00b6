package migrate_test

import (
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/migrate"
)

func FuzzReplicant(f *testing.F)  { fuzz(f, migrate.Replicant) }
func FuzzDregsy(f *testing.F)     { fuzz(f, migrate.Dregsy) }
func FuzzDockerSync(f *testing.F) { fuzz(f, migrate.DockerSync) }
func FuzzSkopeoSync(f *testing.F) { fuzz(f, migrate.SkopeoSync) }
func FuzzRegsync(f *testing.F)    { fuzz(f, migrate.Regsync) }
func FuzzECRMirror(f *testing.F)  { fuzz(f, migrate.ECRMirror) }

// fuzz: nothing in a file makes an import panic or take long, every problem is one line
// in the file, and what was imported loads and is the same each time.
func fuzz(f *testing.F, format migrate.Format) {
	f.Helper()
	for _, s := range samples(f) {
		if s.format == format {
			f.Add(s.files[0].Data, s.options.Destination)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, destination string) {
		files := []migrate.Input{{Name: "old.yaml", Data: data}}
		options := migrate.Options{Destination: destination}
		imported, err := migrate.Import(format, files, options)
		if err != nil {
			checkProblems(t, files, err)
			return
		}
		checkImported(t, imported, options)
		if again, err := migrate.Import(format, files, options); shown(imported, nil) != shown(again, err) {
			t.Errorf("imported twice, it differs:\n%s\n%s", shown(imported, nil), shown(again, err))
		}
	})
}
