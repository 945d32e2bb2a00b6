# The front door. CI and people use the same targets.

GO      ?= go
TAGS    := containers_image_openpgp,exclude_graphdriver_btrfs
VERSION ?= $(patsubst v%,%,$(shell git describe --tags --dirty 2>/dev/null || echo 0.0.0-dev))
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
# The time that everything in an archive or an image has: the commit's.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
CLI     := github.com/ecr-mirror-sync/ecr-mirror-sync/internal/cli
LDFLAGS := -s -w -X $(CLI).version=$(VERSION) -X $(CLI).commit=$(COMMIT) -X main.version=$(VERSION) -X main.commit=$(COMMIT)

# What `make image` builds. To publish for every platform:
#   make image IMAGE=registry/name:tag PLATFORMS=linux/amd64,linux/arm64 IMAGE_FLAGS=--push
IMAGE       ?= ecr-mirror-sync:$(VERSION)
PLATFORMS   ?= linux/$(shell $(GO) env GOARCH)
IMAGE_FLAGS ?= --load

# Programs that the tests run against what this repository builds. A test whose program
# is missing is skipped and says so.
TEST_TOOLS := apt-tools bin/tools/crane bin/tools/regctl bin/tools/helm
CRANE      := github.com/google/go-containerregistry/cmd/crane@v0.22.1
REGCTL     := github.com/regclient/regclient/cmd/regctl@v0.11.7
REGSYNC    := github.com/regclient/regclient/cmd/regsync@v0.11.7
HELM       := helm.sh/helm/v3/cmd/helm@v3.22.0
VALIDATE   := sigs.k8s.io/kubectl-validate@v0.0.4

ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# cosign is not among TEST_TOOLS: building it takes almost 2 GB of memory.
COSIGN     := github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3

export PATH := $(CURDIR)/bin/tools:$(PATH)

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/ecr-mirror-sync and bin/ecrlocal, static and stamped
	CGO_ENABLED=0 $(GO) build -tags $(TAGS) -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/ecr-mirror-sync ./cmd/ecrlocal

# At the end of every process the race detector waits a second for reports that are still on
# their way. The tests of a package tell of races before that; and there are 70 packages, and
# programs that tests start.
test watch: export GORACE ?= atexit_sleep_ms=20

.PHONY: test
test: ## Run all tests with the race detector, in random order
	$(GO) test -race -shuffle=on -timeout 15m -tags $(TAGS) ./...
	$(MAKE) --no-print-directory test-terraform

.PHONY: test-terraform
test-terraform: ## Check the Terraform module, which is a Go module of its own
	cd aws/terraform/test && $(GO) test -shuffle=on ./...

# FAULTS=full sweeps over every request of a run where other runs take a sample.
.PHONY: faults
faults: ## Run all tests with every fault, print the figures and write docs/reliability.md
	FAULTS=full $(GO) test -json -timeout 60m -tags $(TAGS) ./... | \
		$(GO) run -tags $(TAGS) ./internal/testkit/faults/cmd/faultmatrix -doc docs/reliability.md

.PHONY: watch
watch: bin/tools/gotestsum ## Run the tests of each package that changes
	bin/tools/gotestsum --watch -- -race -tags $(TAGS)

.PHONY: lint
lint: bin/tools/golangci-lint ## Run the linters
	bin/tools/golangci-lint run ./...

.PHONY: fmt
fmt: bin/tools/golangci-lint ## Format the Go files
	bin/tools/golangci-lint fmt

.PHONY: vet
vet: ## Run go vet
	$(GO) vet -tags $(TAGS) ./...

.PHONY: demo
demo: build ## Mirror images from a registry to a local ECR, all on this machine
	$(GO) run -tags $(TAGS) ./internal/demo

# Other programs take part where they are on the PATH; `make bin/tools/regsync` installs one.
#   make bench BENCH_FLAGS="--scale 0.1 --only W1,W2 --rounds 3 --peers="
BENCH_FLAGS ?=

.PHONY: bench
bench: build ## Measure requests, time and memory beside a floor (docs/performance.md)
	$(GO) build -tags $(TAGS) -o bin/ ./bench ./bench/launch
	bin/bench --json bin/bench.json $(BENCH_FLAGS)

# What each target finds is kept below testdata/fuzz of its package, and tried by every test run from then on.
FUZZTIME ?= 30s

.PHONY: fuzz
fuzz: ## Feed each parser of foreign bytes with all kinds of them, for $(FUZZTIME) each
	@set -e; grep -rl --include='*_test.go' '^func Fuzz' internal | while read -r file; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' "$$file"); do \
			echo "== $$target in $$(dirname "$$file")"; \
			$(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "./$$(dirname "$$file")"; \
		done; \
	done

# SOAK=1m is enough to have everything happen once; a longer one shows what grows.
SOAK ?= 10m

.PHONY: soak
soak: ## Let a daemon live through moving tags, outages, edits and ends for $(SOAK)
	CGO_ENABLED=0 $(GO) build -tags $(TAGS) -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/ecr-mirror-sync
	$(GO) test -count=1 -timeout 60m -v -tags $(TAGS) ./internal/soak -args -soak $(SOAK) -program $(CURDIR)/bin/ecr-mirror-sync

.PHONY: image
image: ## Build the container image (needs docker buildx)
	docker buildx build -f docker/Dockerfile --platform $(PLATFORMS) \
		--build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) -t $(IMAGE) $(IMAGE_FLAGS) .

# The last stage of docker/Dockerfile without Docker. What its first stage would leave is
# built here: CA_BUNDLE stands in for Alpine's ca-certificates.
CA_BUNDLE     ?= /etc/ssl/certs/ca-certificates.crt
OCI_PLATFORMS ?= linux/amd64,linux/arm64
OCI_DIR       ?= dist/image/oci
comma         := ,

.PHONY: image-oci
image-oci: ## Build the image for all platforms as an OCI layout, without Docker
	rm -rf dist/image/stages
	@for platform in $(subst $(comma), ,$(OCI_PLATFORMS)); do \
		stage=dist/image/stages/build/$${platform%%/*}-$${platform#*/}; \
		echo "building ecr-mirror-sync for $$platform"; \
		mkdir -p $$stage/out $$stage/etc/ssl/certs && mkdir -m 1777 $$stage/out/tmp && \
		cp $(CA_BUNDLE) $$stage/etc/ssl/certs/ca-certificates.crt && \
		CGO_ENABLED=0 GOOS=$${platform%%/*} GOARCH=$${platform#*/} $(GO) build -tags $(TAGS) -trimpath -buildvcs=false \
			-ldflags '-s -w -X $(CLI).version=$(VERSION) -X $(CLI).commit=$(COMMIT)' -o $$stage/out/ ./cmd/ecr-mirror-sync || exit 1; \
	done
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(GO) run -tags $(TAGS) ./docker/imageoci --stages dist/image/stages --platforms $(OCI_PLATFORMS) \
		--build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) --tag $(VERSION) --out $(OCI_DIR)

.PHONY: image-test
image-test: image-oci ## Look into the image, run it from its files alone, and mirror it with itself
	IMAGE_OCI=$(abspath $(OCI_DIR)) $(GO) test -count=1 -v -run 'TestRealImage' -tags $(TAGS) ./docker/imageoci

.PHONY: changelog
changelog: ## Write CHANGELOG.md from changelog/
	$(GO) run ./changelog

# Completions and manual pages, as archives hold them.
.PHONY: release-files
release-files:
	rm -rf bin/release && mkdir -p bin/release/completions
	$(GO) build -tags $(TAGS) -buildvcs=false -ldflags '-X $(CLI).version=$(VERSION)' -o bin/release/program ./cmd/ecr-mirror-sync
	bin/release/program completion bash > bin/release/completions/ecr-mirror-sync.bash
	bin/release/program completion zsh > bin/release/completions/_ecr-mirror-sync
	bin/release/program completion fish > bin/release/completions/ecr-mirror-sync.fish
	bin/release/program completion powershell > bin/release/completions/ecr-mirror-sync.ps1
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) bin/release/program man bin/release/man

.PHONY: release-snapshot
release-snapshot: release-files ## Build a release's archives, and say what only a release has
	GO='$(GO)' TAGS='$(TAGS)' VERSION='$(VERSION)' SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' \
	LDFLAGS='-s -w -X $(CLI).version=$(VERSION) -X $(CLI).commit=$(COMMIT)' bash release/snapshot.sh

.PHONY: lint-workflows
lint-workflows: bin/tools/actionlint ## Lint the workflows, the action and the shell scripts (needs shellcheck)
	bin/tools/actionlint
	shellcheck action/*.sh release/*.sh .ci/run

# `make bin/tools/kubectl-validate` installs one more judge, which takes minutes to build.
.PHONY: chart
chart: bin/tools/helm bin/tools/promtool ## Ask helm, Kubernetes and Prometheus about the Helm chart
	cd charts/tests && $(GO) vet ./... && $(GO) test ./...

.PHONY: manifests
manifests: bin/tools/helm ## Write docs/kubernetes and the chart's table of values anew
	$(GO) test -tags $(TAGS) ./charts -run 'TestPlainManifests|TestReadme' -update

.PHONY: test-tools
test-tools: ## Install what the tests use besides Go: skopeo, awscli, crane, regctl, helm
	@for tool in $(TEST_TOOLS); do \
		start=$$(date +%s); \
		$(MAKE) --no-print-directory $$tool || exit 1; \
		echo "$$tool took $$(( $$(date +%s) - start )) s"; \
	done

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist

.PHONY: apt-tools
apt-tools:
	@if ! command -v apt-get >/dev/null; then \
		echo "skopeo and awscli are not installed: there is no apt-get here. The tests that need them are skipped."; \
	else \
		sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
		$$sudo apt-get -qq update && \
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends skopeo awscli >/dev/null; \
	fi

bin/tools/crane: Makefile
	GOBIN=$(CURDIR)/bin/tools $(GO) install $(CRANE) && touch $@

bin/tools/regctl: Makefile
	GOBIN=$(CURDIR)/bin/tools $(GO) install $(REGCTL) && touch $@

bin/tools/regsync: Makefile
	GOBIN=$(CURDIR)/bin/tools $(GO) install $(REGSYNC) && touch $@

bin/tools/helm: Makefile
	GOBIN=$(CURDIR)/bin/tools $(GO) install $(HELM) && touch $@

bin/tools/kubectl-validate: Makefile
	GOBIN=$(CURDIR)/bin/tools $(GO) install $(VALIDATE) && touch $@

# Out of Debian's package, which installed would start a server.
bin/tools/promtool: Makefile
	@if ! command -v apt-get >/dev/null; then \
		echo "promtool is not installed: there is no apt-get here. The tests that need it are skipped."; \
	else \
		dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
		( cd "$$dir" && apt-get -qq -o APT::Sandbox::User=root download prometheus && dpkg-deb -x prometheus_*.deb . ) && \
		install -D "$$dir/usr/bin/promtool" $@ && touch $@; \
	fi

bin/tools/cosign: Makefile
	GOBIN=$(CURDIR)/bin/tools $(GO) install $(COSIGN) && touch $@

bin/tools/actionlint: Makefile
	GOBIN=$(CURDIR)/bin/tools $(GO) install $(ACTIONLINT) && touch $@

bin/tools/golangci-lint: tools/go.mod tools/go.sum
	cd tools && $(GO) build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bin/tools/gotestsum: tools/go.mod tools/go.sum
	cd tools && $(GO) build -o ../$@ gotest.tools/gotestsum
