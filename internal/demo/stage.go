package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
)

const region = "eu-central-1"

// stage is everything that runs while the demo does.
type stage struct {
	dir      string // temporary, removed at the end
	upstream string // HOST:PORT
	ecr      string // HOST:PORT
	account  string
	api      *ecr.Client
	registry *ecrlocal.Upstream
	server   *http.Server
	local    *exec.Cmd
	color    bool
}

// start brings up both registries on free ports of this machine.
func start(ctx context.Context) (s *stage, err error) {
	s = &stage{color: isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == ""}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "ecr-mirror-sync-demo-"); err != nil {
		return s, err
	}
	if err := s.startUpstream(ctx); err != nil {
		return s, fmt.Errorf("starting the upstream registry: %w", err)
	}
	if err := s.startECR(ctx); err != nil {
		return s, fmt.Errorf("starting bin/ecrlocal: %w", err)
	}
	return s, nil
}

// startUpstream serves distribution's registry, the one that docker.io's descends from.
func (s *stage) startUpstream(ctx context.Context) (err error) {
	if s.registry, err = ecrlocal.NewUpstream( //nolint:contextcheck // it outlives ctx, until stop
		ecrlocal.UpstreamOptions{Dir: filepath.Join(s.dir, "upstream")}); err != nil {
		return err
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.upstream = listener.Addr().String()
	s.server = &http.Server{Handler: s.registry, ReadHeaderTimeout: time.Minute}
	go s.server.Serve(listener) //nolint:errcheck // it ends when the server is closed
	return nil
}

// startECR runs the program ecrlocal, and reads from its first line where it is.
func (s *stage) startECR(ctx context.Context) error {
	s.local = exec.Command(filepath.Join("bin", "ecrlocal"), "serve", //nolint:noctx,gosec // it outlives ctx by the time it takes to stop; the demo's own arguments
		"--listen", "127.0.0.1:0", "--region", region, "--journal", s.journal())
	s.local.Stderr = os.Stderr
	out, err := s.local.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.local.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("no line that says it is ready: %w", err)
	}
	var url, in string
	if _, err := fmt.Sscanf(line, "ready %s account %s region %s", &url, &s.account, &in); err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	s.ecr = strings.TrimPrefix(url, "http://")
	s.api = ecr.NewFromConfig(aws.Config{
		Region:       region,
		BaseEndpoint: aws.String(url),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIADEMO", "demo", ""),
	})
	return ctx.Err()
}

func (s *stage) journal() string { return filepath.Join(s.dir, "ecr.jsonl") }

// stop ends everything and removes what it left.
func (s *stage) stop() error {
	var errs []error
	if s.local != nil && s.local.Process != nil {
		errs = append(errs, s.local.Process.Signal(syscall.SIGTERM), s.local.Wait())
	}
	if s.server != nil {
		errs = append(errs, s.server.Close())
	}
	if s.registry != nil {
		errs = append(errs, s.registry.Close())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// environment is what the program under show is given: AWS is the local ECR, and
// nothing on this machine says otherwise.
func (s *stage) environment() []string {
	return append(os.Environ(),
		"AWS_ENDPOINT_URL=http://"+s.ecr,
		"AWS_ACCESS_KEY_ID=AKIADEMO",
		"AWS_SECRET_ACCESS_KEY=demo",
		"AWS_REGION="+region,
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE=/dev/null",
	)
}

// tool runs bin/ecr-mirror-sync where everybody can see it, and insists on its exit
// code.
func (s *stage) tool(ctx context.Context, want int, args ...string) error {
	line := "ecr-mirror-sync " + strings.Join(args, " ")
	s.printf("%s\n", s.bold("$ "+line))
	cmd := exec.CommandContext(ctx, filepath.Join("bin", "ecr-mirror-sync"), args...) //nolint:gosec // the demo's own arguments
	cmd.Env = s.environment()
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		return fmt.Errorf("%s: %w", line, err)
	} else if ok && exit.ExitCode() != want || !ok && want != 0 {
		return fmt.Errorf("%s: exit code %d, and %d was expected", line, cmd.ProcessState.ExitCode(), want)
	}
	s.printf("\n")
	return nil
}

// printf tells the audience.
func (s *stage) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stdout, format, args...) // who closes stdout does not want to know
}

func (s *stage) say(format string, args ...any) {
	s.printf("%s\n", s.dim("# "+fmt.Sprintf(format, args...)))
}

func (s *stage) bold(text string) string { return s.paint("1", text) }
func (s *stage) dim(text string) string  { return s.paint("36", text) }

func (s *stage) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
