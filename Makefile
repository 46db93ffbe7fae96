# make demo       build and run the main job, with sample people
# make demo-nodes three servers behind HAProxy, with Redis (installs both)
# make test       unit, conformance and end-to-end tests (installs OpenSSH, slapd and the like if missing)
# make test-peers the same with the race detector, and heavier peers: Samba AD, 389 DS, a KDC, a zoo of clients, faults, hostile clients
# make lint       formatting, vet, staticcheck, go.mod
# make bench      Berth beside OpenSSH, as ratios;  make bench-quick in under a minute
# make bench-logins  logins by password and key against slapd, with CPU time, and beside OpenSSH with SSSD (as root)
# make bench-nodes   what Redis adds to a login, many idle sessions, 50,000 people, 1,000 nodes: half an hour
# make soak       load and faults for 30 minutes, as root;  SOAK=5m is shorter
# make package    .deb and .rpm for amd64 and arm64 into dist/out;  VERSION=1.2.3 sets the version;  make man  the man pages
# make container-root ROOT=folder  what a container holds: dist/Containerfile
# make pictures  draws docs/pictures/*.txt;  make recording  records the demonstration and what users see (port 2022 must be free)
# make fuzz       every fuzz target for FUZZTIME each
# make patches-test  the SSH library's own tests with our patches, and our tests of sshd without and with them

GO       ?= go
FUZZTIME ?= 30s
SOAK     ?= 30m
OUT      ?= berth

# Sets a default of GODEBUG. The monitor thread of Go's runtime then naps instead
# of sleeping, and need not be woken at each request. Without it the server is
# correct and slower: docs/adr/0005-a-quiet-scheduler.md.
LDFLAGS = -X=runtime.godebugDefault=schedtrace=2147483647

# The SSH library with Berth's patches: docs/adr/0009-patches-for-the-ssh-library.md.
# Every target below is built with it. A plain `go build` has the library as it is.
PATCHED = .patched/go.mod
export GOFLAGS := $(filter-out -modfile=%,$(GOFLAGS)) -modfile=$(CURDIR)/$(PATCHED)

.PHONY: build demo demo-nodes test test-peers lint bench bench-quick bench-logins bench-nodes soak fuzz docs package man pictures recording container-root patches-test

$(PATCHED): go.mod go.sum $(wildcard patches/*.go patches/testdata/*.go)
	GOFLAGS= $(GO) run ./patches apply

build: $(PATCHED)
	$(GO) build $(BUILDFLAGS) -ldflags "$(LDFLAGS)" -o $(OUT) ./cmd/berth

demo: build
	./berth demo

demo-nodes: build
	test/packages.sh base
	test/demo-nodes.sh

test: $(PATCHED)
	test/packages.sh base
	$(GO) test -parallel 4 -timeout 20m ./...

test-peers: $(PATCHED)
	test/packages.sh base peers sssd
	BERTH_PEERS=openldap,samba,389ds,sssd,nginx,postfix,zitadel,kdc,suites,package,clock $(GO) test -race -parallel 4 -timeout 40m -count=1 ./...

lint: $(PATCHED)
	@test -z "$$($(GO) tool gofumpt -l */ | tee /dev/stderr)" || { echo "run: go tool gofumpt -w */" >&2; exit 1; }
	$(GO) vet ./...
	GOFLAGS= $(GO) tool staticcheck ./...
	GOFLAGS= $(GO) mod tidy -diff
	GOOS=linux GOARCH=arm64 $(GO) build ./...

bench bench-quick: $(PATCHED)
	test/packages.sh base
	$(GO) run ./test/bench $(if $(filter bench-quick,$@),-quick)

bench-logins: $(PATCHED)
	test/packages.sh base sssd
	$(GO) test -run - -bench Logins$$ -benchtime 2000x -count 3 ./test
	$(GO) test -run - -bench Waiting -benchtime 1x ./sshd/oidc
	BERTH_PEERS=sssd $(GO) test -run - -bench BesideSSSD -benchtime 1x ./test

bench-nodes: $(PATCHED)
	test/packages.sh base
	$(GO) test -timeout 45m -run - -bench 'Nodes|Idle|Company' -benchtime 1x ./test
	$(GO) test -run - -bench ManyNodes -benchtime 1x ./sshd/state/redis
	$(GO) test -run - -bench LoginAmong -benchtime 3000x ./sshd/state/redis

soak: $(PATCHED)
	test/packages.sh base
	$(GO) run ./test/soak -for $(SOAK) -plot docs/pictures/soak.svg

fuzz: $(PATCHED)
	test/fuzz.sh $(FUZZTIME)

docs: $(PATCHED)
	$(GO) test ./config ./sshd/event -update
	$(GO) test ./sshd/sftp ./sshd/event/format ./sshd/event/metrics -run TestPage -update
	$(GO) test ./test -run TestStatesPage -update

package: $(PATCHED)
	LDFLAGS="$(LDFLAGS)" VERSION="$(VERSION)" dist/package.sh

# A static program with time zones in it, and folders that any user may write to.
container-root: $(PATCHED)
	CGO_ENABLED=0 $(GO) build -trimpath -tags timetzdata -ldflags "$(LDFLAGS)" -o $(ROOT)/usr/bin/berth ./cmd/berth
	install -D -m 644 /etc/ssl/certs/ca-certificates.crt $(ROOT)/etc/ssl/certs/ca-certificates.crt
	install -d -m 755 $(ROOT)/etc/berth
	install -d -m 1777 $(ROOT)/run/berth $(ROOT)/tmp $(ROOT)/var/lib/berth

man: $(PATCHED)
	VERSION="$(VERSION)" dist/man.sh dist/out/man

pictures: $(PATCHED)
	$(GO) run ./test/pictures

recording: build
	$(GO) run ./test/pictures record

patches-test: $(PATCHED)
	cd .patched/crypto && GOFLAGS= $(GO) test -race -timeout 8m ./ssh/...
	GOFLAGS= $(GO) test -timeout 10m ./sshd/...
	$(GO) test -timeout 10m ./sshd/...
