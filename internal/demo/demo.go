// Package demo is the whole of dagbucket in one process: a cloud's storage server, a stand-in for Astro and the function, fed with the
// events that the server's changes give.
package demo

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dagbucket/dagbucket/internal/astro/astrotest"
	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/deployer"
	"github.com/dagbucket/dagbucket/internal/pysyntax"
	"github.com/dagbucket/dagbucket/internal/secret"
	"github.com/dagbucket/dagbucket/internal/service"
	"github.com/dagbucket/dagbucket/internal/statuspage"
)

const (
	dagsBucket  = "demo-dags"
	stateBucket = "demo-state"
	prefix      = "dags/"
	// backlog is how many changes may wait for their delivery; more make the storage server wait.
	backlog = 1 << 16
)

//go:embed all:dags
var samples embed.FS

// Cloud is whose storage and function the demo embeds, and whose events it delivers.
type Cloud string

// The clouds there are.
const (
	AWS Cloud = "aws"
	GCP Cloud = "gcp"
)

// Options say how the demo shows itself.
type Options struct {
	Cloud   Cloud
	Out     io.Writer
	Log     *slog.Logger
	Open    func(ctx context.Context, endpoint string) (bucket.Openers, error) // buckets of the cloud, on the embedded server
	Print   func(deployer.Result)                                              // shows one run; never called concurrently, nor while Out is written to
	Once    bool                                                               // one round, then compare and return
	Version string
	Syntax  *pysyntax.Checker // nil: no file is checked
}

// cloud is what differs between the clouds.
type cloud struct {
	scheme  string // of its buckets' URLs
	storage string // as people call it
	carrier string // what brings the storage's events to the function
	share   bool   // whether the function's invocations share runs

	// The carrier delivers batches of at most so many changes, gathered for so long, and so many batches side by side.
	most, atOnce int
	window       time.Duration

	// newStorage makes the storage server with both buckets. It hands each change of the DAGs' bucket to changed.
	newStorage func(changed func(change)) (http.Handler, error)
	// newFunction starts the function around the demo's service, and returns what delivers a batch to it.
	newFunction func(d *demo) (invoke, error)

	commands func(endpoint string) []command // for a person to paste
	tools    func(endpoint string) string    // says what else works on the storage server; may be ""
}

type command struct{ does, line string }

var clouds = map[Cloud]cloud{AWS: aws, GCP: gcp}

// demo is one running demo.
type demo struct {
	Options
	cloud    cloud
	endpoint string // of the storage server
	astroURL string
	pageURL  string
	astro    *astrotest.Server
	source   bucket.Bucket
	service  *service.Service
	invoke   invoke
	changes  chan change
	pending  atomic.Int64  // changes whose delivery has not ended
	backOff  time.Duration // before the second delivery; doubled before each further one
	stops    []func()

	mu       sync.Mutex       // held while something is printed
	arriving bool             // what was printed last are arriving events
	idle     *deployer.Result // of the last run, if that found nothing to do and is not printed yet
}

// Run starts everything, uploads the sample DAGs, shows their deploy, and then serves until ctx ends. With Once it returns after the first
// round: an error if what is live is not what was uploaded.
func Run(ctx context.Context, o Options) error {
	chosen, ok := clouds[o.Cloud]
	if !ok {
		return fmt.Errorf("there is no demo for the cloud %q", o.Cloud)
	}
	ctx, cancel := context.WithCancel(ctx) // a run may outlive the requests it began for; it must not outlive the demo on the screen
	defer cancel()
	d := &demo{Options: o, cloud: chosen, changes: make(chan change, backlog), backOff: time.Second}
	defer d.stop()
	if err := d.start(ctx); err != nil {
		return err
	}
	uploaded, err := d.uploadSamples(ctx)
	if err != nil {
		return err
	}
	if err := d.deliverAll(ctx, false); err != nil {
		return err
	}
	if o.Once {
		return d.compare(uploaded)
	}
	if ctx.Err() == nil {
		d.invite()
	}
	return d.deliverAll(ctx, true)
}

// start brings the servers up on loopback, and wires the function to them.
func (d *demo) start(ctx context.Context) error {
	storage, err := d.cloud.newStorage(func(c change) {
		d.pending.Add(1)
		d.changes <- c
	})
	if err != nil {
		return err
	}
	d.astro = astrotest.New(astrotest.Options{LiveAfter: time.Second})
	mux := http.NewServeMux()
	mux.Handle("/", d.astro)
	mux.HandleFunc("GET /live", d.showLive)
	if d.endpoint, err = d.listen(storage); err != nil {
		return err
	}
	if d.astroURL, err = d.listen(mux); err != nil {
		return err
	}
	if err := d.wire(ctx); err != nil {
		return err
	}
	if d.pageURL, err = d.listen(http.HandlerFunc(d.showPage)); err != nil {
		return err
	}
	d.invoke, err = d.cloud.newFunction(d)
	return err
}

// listen serves on loopback until stop, and returns the URL.
func (d *demo) listen(handler http.Handler) (url string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener)
	d.stops = append(d.stops, func() { _ = server.Close() })
	return "http://" + listener.Addr().String(), nil
}

func (d *demo) stop() {
	for _, stop := range d.stops {
		stop()
	}
}

// wire makes the function's service as its environment would.
func (d *demo) wire(ctx context.Context) error {
	token := astrotest.Token(astrotest.OrganizationID, time.Now().Add(24*time.Hour))
	env := map[string]string{
		"DAGBUCKET_SOURCE": d.cloud.scheme + "://" + dagsBucket + "/" + prefix, "DAGBUCKET_STATE": d.cloud.scheme + "://" + stateBucket + "/",
		"DAGBUCKET_ROUTE": "demo", "DAGBUCKET_QUIET_PERIOD": "1s", "ASTRO_DEPLOYMENT_ID": astrotest.DeploymentID,
		"ASTRO_API_TOKEN": token, "ASTRO_API_URL": d.astroURL + "/v1",
	}
	getenv := func(name string) string { return env[name] }
	cfg, err := config.Load(ctx, getenv, nil)
	if err != nil {
		return err
	}
	buckets, err := d.Open(ctx, d.endpoint)
	if err != nil {
		return err
	}
	if d.source, err = buckets.Open(ctx, cfg.Routes[0].Sources[0].URL); err != nil {
		return err
	}
	d.service, err = service.New(ctx, cfg, service.Deps{
		Buckets: buckets, Secrets: secret.Local(getenv), Version: d.Version, Log: d.Log, Share: d.cloud.share, Syntax: d.Syntax, Follow: true,
		// It is asked once for each run, however many invocations share that.
		SummaryAttrs: func(r deployer.Result) []slog.Attr { d.show(ctx, r); return nil },
	})
	return err
}

// uploadSamples puts the sample DAGs into the bucket, and returns what was put under its archive path.
func (d *demo) uploadSamples(ctx context.Context) (map[string]string, error) {
	fmt.Fprintf(d.Out, "Uploading sample DAGs to %s://%s/%s …\n", d.cloud.scheme, dagsBucket, prefix)
	uploaded := map[string]string{}
	err := fs.WalkDir(samples, "dags", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := samples.ReadFile(name)
		if err != nil {
			return err
		}
		key := prefix + strings.TrimPrefix(name, "dags/")
		if _, err := d.source.Put(ctx, key, strings.NewReader(string(content)), bucket.Always); err != nil {
			return err
		}
		uploaded[path.Join("dags", strings.TrimPrefix(name, "dags/"))] = string(content)
		return nil
	})
	return uploaded, err
}

// compare checks that what is live is what was uploaded.
func (d *demo) compare(uploaded map[string]string) error {
	finalized := d.astro.Uploads(astrotest.DeploymentID)
	if len(finalized) == 0 {
		return errors.New("nothing was deployed")
	}
	files, err := astrotest.Files(finalized[len(finalized)-1].Archive())
	if err != nil {
		return err
	}
	_, desired := d.astro.Versions(astrotest.DeploymentID)
	if desired != finalized[len(finalized)-1].Version {
		return errors.New("what was uploaded was not finalized")
	}
	for _, f := range files {
		if content, ok := uploaded[f.Name]; !ok || content != string(f.Content) {
			return fmt.Errorf("%s was deployed but not uploaded like that", f.Name)
		}
		delete(uploaded, f.Name)
	}
	for name := range uploaded {
		return fmt.Errorf("%s was uploaded but not deployed", name)
	}
	fmt.Fprintf(d.Out, "\nWhat is deployed equals what was uploaded: %d files.\n", len(files))
	return nil
}

// invite prints what a person can paste.
func (d *demo) invite() {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprint(d.Out, "\nNow you are the DAG author. In another terminal:\n\n")
	for _, c := range append(d.cloud.commands(d.endpoint), command{"what is live", "curl " + d.astroURL + "/live"}, command{"a page to see", d.pageURL}) {
		fmt.Fprintf(d.Out, "  %-14s %s\n", c.does, c.line)
	}
	fmt.Fprint(d.Out, d.cloud.tools(d.endpoint), "\nA second after the last change it is deployed; watch it here. Ctrl-C ends the demo.\n")
}

// pageRefresh is in seconds.
const pageRefresh = "5"

// showPage is the status page, as it would be written now.
func (d *demo) showPage(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	route, err := d.service.Route("")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	status, err := route.Status(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Refresh", pageRefresh)
	_ = statuspage.Render(w, &status) // whoever looks may leave
}

// showLive lists what the stand-in's Deployment runs.
func (d *demo) showLive(w http.ResponseWriter, _ *http.Request) {
	files, err := d.astro.LiveFiles(astrotest.DeploymentID)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "%d files are live:\n", len(files))
	for _, f := range files {
		fmt.Fprintf(w, "  %s  %6d  %s\n", f.Modified.Format(time.RFC3339), f.Size, f.Name)
	}
}
