// Package astrotest is a stand-in for Astro: the Deploy API and the blob storage that its upload URLs point to, with
// its state in memory, a clock that can be set, and faults on request. It serves tests, the demo and the official
// command line.
package astrotest

import (
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The identifiers of the Deployment that a Server has when no other is asked for.
const (
	OrganizationID = "clmg78a9d000008l7ek2m1a2b"
	WorkspaceID    = "clmh58o7d000108lb74ktc9o6"
	DeploymentID   = "clmh57jtm000008lb58fe2wmv"
)

// Options describe a Server; the zero value is one healthy Deployment, DeploymentID, without DAGs.
type Options struct {
	Deployments   []Deployment
	Organizations []Organization // what GET /organizations shows; nil: those of the Deployments
	// Tokens are the accepted API tokens; nil accepts every well-formed one. An expired token, or one of another
	// organization, is refused in any case.
	Tokens      []string
	Now         func() time.Time // nil: time.Now
	LiveAfter   time.Duration    // from finalize until dagTarballVersion follows desiredDagTarballVersion
	URLLifetime time.Duration    // of an upload URL; 0: ten minutes
	// DiscardArchives keeps only size and SHA-256 of what is uploaded, for archives that are too large to hold.
	DiscardArchives bool
}

// Organization is one entry of GET /organizations.
type Organization struct{ ID, Name string }

// Deployment is what can be set of a Deployment. Empty fields get the values of a healthy one.
type Deployment struct {
	ID, Name, OrganizationID, WorkspaceID string
	Type                                  string            // STANDARD, DEDICATED or HYBRID
	Status                                string            // while no deploy is in progress and it does not hibernate
	RuntimeVersion                        string            // such as 3.1-1
	Variables                             map[string]string // environment variables that are no secrets
	DAGDeploysOff                         bool              // isDagDeployEnabled is false
	Hibernating                           bool
	CICDEnforced                          bool
	RemoteExecution                       bool
}

func (d *Deployment) fill() {
	for _, field := range []struct {
		value   *string
		initial string
	}{
		{&d.ID, DeploymentID}, {&d.Name, "Test Deployment"}, {&d.OrganizationID, OrganizationID}, {&d.WorkspaceID, WorkspaceID},
		{&d.Type, "STANDARD"}, {&d.Status, "HEALTHY"}, {&d.RuntimeVersion, "3.1-1"},
	} {
		if *field.value == "" {
			*field.value = field.initial
		}
	}
}

// Server is the stand-in. It is an http.Handler; Start serves it on a loopback address. All methods may be called
// concurrently; those that take the ID of a Deployment panic if there is none.
type Server struct {
	options Options
	key     []byte // signs upload URLs
	mux     *http.ServeMux
	closed  chan struct{}
	http    *http.Server
	address string

	mu          sync.Mutex
	tokens      []string // nil: any
	deployments []*deployment
	faults      []*Fault
	calls       map[Call]int
	lastID      int
	lastVersion time.Time
}

// New makes a Server that is not started.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.URLLifetime == 0 {
		o.URLLifetime = 10 * time.Minute
	}
	if len(o.Deployments) == 0 {
		o.Deployments = []Deployment{{}}
	}
	s := &Server{options: o, key: make([]byte, 32), closed: make(chan struct{}), tokens: o.Tokens, calls: map[Call]int{}}
	_, _ = rand.Read(s.key) // never fails
	for _, d := range o.Deployments {
		d.fill()
		s.deployments = append(s.deployments, &deployment{Deployment: d, created: s.now(), imageTag: firstImage, blob: newBlob()})
	}
	s.mux = s.routes()
	return s
}

func (s *Server) now() time.Time { return s.options.Now().UTC() }

// Start serves on a free loopback port until Close.
func (s *Server) Start() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.address = listener.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			panic(err) // the listener is ours alone, so this is a bug
		}
	}()
	return nil
}

// URL is the base URL of the started server, as ASTRO_API_URL takes it.
func (s *Server) URL() string { return "http://" + s.address + "/v1" }

// Close ends a started server and every call that hangs. It must be called once.
func (s *Server) Close() {
	close(s.closed)
	if s.http != nil {
		_ = s.http.Close()
	}
}

// ServeHTTP serves the API below /v1, and below the paths of its older versions that the official client uses.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, prefix := range []string{"/v1/", "/platform/v1/", "/platform/v1beta1/"} {
		if strings.HasPrefix(r.URL.Path, prefix) {
			http.StripPrefix(strings.TrimSuffix(prefix, "/"), s.mux).ServeHTTP(w, r)
			return
		}
	}
	s.mux.ServeHTTP(w, r)
}

// Update changes the settings of a Deployment.
func (s *Server) Update(deploymentID string, change func(*Deployment)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.find(deploymentID).Deployment)
}

// AcceptTokens replaces the accepted API tokens; with none, every token is refused.
func (s *Server) AcceptTokens(tokens ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = append([]string{}, tokens...)
}

// find returns a Deployment by its ID, or nil. The lock is held.
func (s *Server) find(deploymentID string) *deployment {
	for _, d := range s.deployments {
		if d.ID == deploymentID {
			return d
		}
	}
	return nil
}
