package main

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
)

// asProgram makes the test binary be the program, so that tests can start and signal it.
const asProgram = "ECRLOCAL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	m.Run()
}

// process is the program, running.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr bytes.Buffer
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0], args...)}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stderr = &p.stderr
	pipe, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(pipe)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// ready waits for the ready line and returns the URL in it.
func (p *process) ready(pattern string) string {
	p.t.Helper()
	line, err := p.stdout.ReadString('\n')
	match := regexp.MustCompile(pattern).FindStringSubmatch(line)
	if err != nil || match == nil {
		_ = p.cmd.Wait()
		p.t.Fatalf("the first line is %q (%v), want %s\n%s", line, err, pattern, &p.stderr)
	}
	return match[1]
}

// stop sends a signal and returns what else was printed, and the exit code.
func (p *process) stop(sig os.Signal) (rest string, code int) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	var more bytes.Buffer
	if _, err := more.ReadFrom(p.stdout); err != nil {
		p.t.Fatal(err)
	}
	_ = p.cmd.Wait() // the exit code says it all
	return more.String(), p.cmd.ProcessState.ExitCode()
}

const readyLine = `^ready (http://127\.0\.0\.1:[0-9]+) account 444455556666 region eu-west-1\n$`

func client(url string) *ecr.Client {
	return ecr.NewFromConfig(aws.Config{
		Region: "eu-west-1", BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("any", "key", ""),
	})
}

// TestServe starts the program with most of its flags, uses it, stops it by each signal and
// finds the state again.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	seed := filepath.Join(dir, "seed.yaml")
	if err := os.WriteFile(seed, []byte("repositories: [{name: seeded}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	journal := filepath.Join(dir, "journal")
	args := []string{
		"serve", "--listen", "127.0.0.1:0", "--account", "444455556666", "--region", "eu-west-1",
		"--data", filepath.Join(dir, "data"), "--seed", seed, "--journal", journal,
		"--throttle", "off", "--token-ttl", "1h", "--tagging-delay", "1s", "--page-size-cap", "1", "--max-repositories", "50", "--quirk", "redirect-blobs=off",
	}
	for i, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		p := start(t, args...)
		url := p.ready(readyLine)
		out, err := client(url).DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
		if err != nil || len(out.Repositories) != 1 || (out.NextToken != nil) != (i == 1) {
			t.Fatalf("start %d: %+v, %v; want a page of one, the last only at the first start", i+1, out, err)
		}
		if i == 0 {
			if _, err := client(url).CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("created")}); err != nil {
				t.Fatal(err)
			}
		}
		if rest, code := p.stop(sig); code != 0 || rest != "" || p.stderr.Len() != 0 {
			t.Errorf("%v: exit %d, more output %q, stderr %q; want 0 and nothing", sig, code, rest, &p.stderr)
		}
	}
	lines, err := os.ReadFile(journal)
	if err != nil || bytes.Count(lines, []byte("\n")) != 3 {
		t.Errorf("the journal is %s, %v; want three lines", lines, err)
	}
}

// TestServeFlags shows flags at work that change how the server behaves.
func TestServeFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials.yaml")
	if err := os.WriteFile(file, []byte("accessKeys: {any: {account: \"444455556666\", deny: [\"ecr:CreateRepository\"]}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "serve", "--listen", ":0", "--account", "444455556666", "--region", "eu-west-1",
		"--profile", "oci", "--credentials", file, "--quirk", "throttle=on", "--rate", "DescribeRepositories=1")
	url := p.ready(readyLine)
	c := ecr.NewFromConfig(aws.Config{
		Region: "eu-west-1", BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("any", "key", ""), RetryMaxAttempts: 1,
	})
	_, err := c.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("app")})
	if err == nil || !strings.Contains(err.Error(), "AccessDeniedException") {
		t.Errorf("the denied action: %v", err)
	}
	_, err = c.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if err != nil {
		t.Error(err)
	}
	_, err = c.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if err == nil || !strings.Contains(err.Error(), "ThrottlingException") {
		t.Errorf("over the rate: %v", err)
	}
	if status := get(t, url+"/v2/"); status != 200 {
		t.Errorf("the plain registry wants a login: %d", status)
	}
	p.stop(syscall.SIGTERM)
}

// TestServeRegistries gives registries addresses of their own, and says where they are before
// it is ready.
func TestServeRegistries(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0", "--account", "444455556666", "--region", "eu-west-1",
		"--registry", "eu-west-1=127.0.0.1:0", "--registry", "111122223333/us-east-1=:0")
	own := p.ready(`^registry 444455556666/eu-west-1 (http://127\.0\.0\.1:[0-9]+)\n$`)
	other := p.ready(`^registry 111122223333/us-east-1 (http://127\.0\.0\.1:[0-9]+)\n$`)
	api := p.ready(readyLine)
	for _, row := range []struct{ region, account, want string }{
		{"eu-west-1", "444455556666", own},
		{"us-east-1", "111122223333", other},
		{"us-east-1", "444455556666", api},
	} {
		out, err := client(api).GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{
			RegistryIds: []string{row.account}, //nolint:staticcheck // deprecated, but clients send it
		}, func(o *ecr.Options) { o.Region = row.region })
		if err != nil || aws.ToString(out.AuthorizationData[0].ProxyEndpoint) != row.want {
			t.Errorf("%s in %s: %+v, %v; want %s", row.account, row.region, out, err, row.want)
		}
	}
	for _, url := range []string{own, other, api} {
		if status := get(t, url+"/v2/"); status != 401 {
			t.Errorf("%s answers %d, want 401", url, status)
		}
	}
	if rest, code := p.stop(syscall.SIGTERM); code != 0 || rest != "" || p.stderr.Len() != 0 {
		t.Errorf("exit %d, more output %q, stderr %q", code, rest, &p.stderr)
	}
}

func TestRegistry(t *testing.T) {
	p := start(t, "registry", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--journal", filepath.Join(t.TempDir(), "journal"))
	url := p.ready(`^ready (http://127\.0\.0\.1:[0-9]+)\n$`)
	if status := get(t, url+"/v2/"); status != 200 {
		t.Errorf("the registry answers %d", status)
	}
	if rest, code := p.stop(syscall.SIGTERM); code != 0 || rest != "" || p.stderr.Len() != 0 {
		t.Errorf("exit %d, more output %q, stderr %q", code, rest, &p.stderr)
	}
}

func get(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestCommandLines is one row per command line that ends by itself.
func TestCommandLines(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, row := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"version", 0, "ecrlocal devel (commit unknown)\n", ""},
		{"serve --nope", 10, "", "unknown flag"},
		{"serve extra", 10, "", "unknown command"},
		{"nope", 10, "", "unknown command"},
		{"version extra", 10, "", "unknown command"},
		{"registry extra", 10, "", "unknown command"},
		{"serve --profile gcr", 10, "", `--profile: unknown profile "gcr"`},
		{"serve --quirk nope=on", 10, "", `--quirk: unknown quirk "nope"`},
		{"serve --throttle fast", 10, "", `--throttle: want on, off or a positive number, not "fast"`},
		{"serve --rate PutImage", 10, "", `--rate: want ACTION=NUMBER`},
		{"serve --registry eu-west-1", 10, "", `--registry: want [ACCOUNT/]REGION=ADDRESS, not "eu-west-1"`},
		{"serve --registry =127.0.0.1:0", 10, "", `--registry: want [ACCOUNT/]REGION=ADDRESS, not "=127.0.0.1:0"`},
		{"serve --registry 1/eu-west-1=127.0.0.1:0", 10, "", `--registry: there is no registry "1" in the Region "eu-west-1"`},
		{"serve --registry eu-west-1=127.0.0.1:0 --registry eu-west-1=127.0.0.1:0", 10, "", "has an address already"},
		{"serve --registry eu-west-1=nowhere", 1, "", "nowhere"},
		{"serve --account 1", 10, "", `account "1" is not 12 digits`},
		{"serve --seed " + missing, 10, "", "--seed: open " + missing},
		{"serve --credentials " + missing, 10, "", "--credentials: open " + missing},
		{"serve --journal " + missing + "/x", 10, "", "--journal: open " + missing},
		{"serve --listen nowhere", 1, "", "nowhere"},
		{"registry --listen nowhere", 1, "", "nowhere"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(row.args), &stdout, &stderr)
		if code != row.code || stdout.String() != row.stdout || !strings.Contains(stderr.String(), row.stderr) || strings.Count(stderr.String(), "\n") > 1 {
			t.Errorf("%s: exit %d, stdout %q, stderr %q; want %d, %q and one line with %q", row.args, code, &stdout, &stderr, row.code, row.stdout, row.stderr)
		}
	}
}
