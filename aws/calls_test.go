package aws_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const sdk = "github.com/aws/aws-sdk-go-v2/"

// Every call of the AWS SDK that the program can make is allowed by a policy, and no policy
// allows what nothing calls. The calls are read from the program.
func TestPoliciesAllowEveryCallAndNothingElse(t *testing.T) {
	calls := callsOfTheProgram(t)
	if len(calls) < 25 {
		t.Fatalf("only %d calls were found: %v", len(calls), calls)
	}
	allowed := make(map[string]bool)
	actions := make(map[string]bool)
	for _, p := range permissions() {
		actions[p.action] = true
		for _, call := range p.calls {
			allowed[call] = true
		}
	}
	for _, call := range needNothing() {
		allowed[call] = true
	}
	for call, where := range calls {
		if !allowed[call] {
			t.Errorf("%s: the program calls %s, and no permission in the table is for it", where, call)
		}
	}
	for call := range allowed {
		if calls[call] == "" {
			t.Errorf("the table has a permission for %s, which the program never calls", call)
		}
	}
	for _, p := range permissions() {
		switch {
		case p.besides != "" && !actions[p.besides]:
			t.Errorf("%s goes with %s, which is in no policy", p.action, p.besides)
		case len(p.calls) == 0 && !p.pushed && p.besides == "":
			t.Errorf("nothing needs %s", p.action)
		}
	}
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir, Export string
	Standard                bool
	GoFiles, Imports        []string
}

// callsOfTheProgram returns the methods of SDK clients that the shipped program calls, as
// service.Method, and where it does so. It type-checks each package of the program that
// imports the SDK.
func callsOfTheProgram(t *testing.T) map[string]string {
	t.Helper()
	exports := make(map[string]string)
	var own []listed
	for _, p := range programPackages(t) {
		exports[p.ImportPath] = p.Export
		imports := func(i string) bool { return strings.HasPrefix(i, sdk) }
		if strings.HasPrefix(p.ImportPath, "github.com/ecr-mirror-sync/") && slices.ContainsFunc(p.Imports, imports) {
			own = append(own, p)
		}
	}
	if len(own) == 0 {
		t.Fatal("no package of the program imports the SDK")
	}
	files := token.NewFileSet()
	from := importer.ForCompiler(files, "gc", func(pkg string) (io.ReadCloser, error) { return os.Open(exports[pkg]) })
	calls := make(map[string]string)
	for _, p := range own {
		maps.Copy(calls, callsOf(t, p, files, from))
	}
	return calls
}

// programPackages lists the program's packages and all that they import, with their
// compiled types.
func programPackages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-tags", "containers_image_openpgp,exclude_graphdriver_btrfs", "-deps", "-export", "-json=ImportPath,Dir,Export,GoFiles,Imports,Standard", "./cmd/ecr-mirror-sync")
	cmd.Dir = ".."
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, complaint.String())
	}
	var all []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// callsOf returns the calls of one package.
func callsOf(t *testing.T, p listed, files *token.FileSet, from types.Importer) map[string]string {
	t.Helper()
	var parsed []*ast.File
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	if _, err := (&types.Config{Importer: from}).Check(p.ImportPath, files, parsed, info); err != nil {
		t.Fatal(err)
	}
	calls := make(map[string]string)
	for name, object := range info.Uses {
		used, ok := object.(*types.Func)
		if !ok || used.Pkg() == nil || !strings.HasPrefix(used.Pkg().Path(), sdk) {
			continue
		}
		for _, call := range callsThrough(used) {
			at := files.Position(name.Pos())
			calls[call] = fmt.Sprintf("%s:%d", path.Join(path.Base(p.ImportPath), filepath.Base(at.Filename)), at.Line)
		}
	}
	return calls
}

// callsThrough returns the API calls that a function of the SDK stands for. A use that is
// no call counts too: whoever is given a method will call it.
func callsThrough(used *types.Func) []string {
	signature := used.Signature()
	if signature.Recv() == nil {
		switch {
		case used.Name() == "NewAssumeRoleProvider":
			return []string{"sts.AssumeRole"}
		case used.Name() == "NewWebIdentityRoleProvider":
			return []string{"sts.AssumeRoleWithWebIdentity"}
		case strings.HasSuffix(used.Name(), "Paginator"): // NewListImagesPaginator
			return []string{path.Base(used.Pkg().Path()) + "." + strings.TrimSuffix(strings.TrimPrefix(used.Name(), "New"), "Paginator")}
		}
		return nil
	}
	// An operation takes a context, its input and options, of a service's own package.
	parameters := signature.Params()
	if parameters.Len() != 3 || !signature.Variadic() {
		return nil
	}
	input, ok := parameters.At(1).Type().(*types.Pointer)
	if !ok {
		return nil
	}
	named, ok := input.Elem().(*types.Named)
	if !ok || named.Obj().Name() != used.Name()+"Input" {
		return nil
	}
	return []string{path.Base(named.Obj().Pkg().Path()) + "." + used.Name()}
}
