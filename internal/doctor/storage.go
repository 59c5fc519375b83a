package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/bucket"
	"github.com/dagbucket/dagbucket/internal/config"
	"github.com/dagbucket/dagbucket/internal/state"
)

// tolerable is how far clocks may be apart: event times, tokens' ends and signatures all compare them.
const tolerable = time.Minute

func (p *patient) sources(ctx context.Context) []Check {
	p.unlistable = map[bucket.URL]bool{}
	var checks []Check
	for _, s := range p.route.Sources {
		c := Skip("source", "not checked, because of: credentials")
		if !p.barred(s.URL.Scheme) {
			c = p.source(ctx, s)
		}
		c.About = s.URL.String()
		p.unlistable[s.URL] = c.Status == Fault || c.Status == Skipped
		checks = append(checks, c)
	}
	return checks
}

// source lists a source as a run does, and reads a byte of one object.
func (p *patient) source(ctx context.Context, s config.Source) Check {
	b, err := p.Buckets.Open(ctx, s.URL)
	if err != nil {
		return Bad("source", repairOf(err, "read the source"), "%s", oneLine(err))
	}
	asked := p.Now()
	listing, err := b.List(ctx, s.URL.Prefix)
	if err != nil {
		return Bad("source", repairOf(err, "list the source"), "%s", oneLine(err))
	}
	if !p.measured {
		p.skew, p.measured = listing.Time.Sub(asked.Truncate(time.Second)), true
	}
	files := slices.DeleteFunc(listing.Objects, func(o bucket.Object) bool { return strings.HasSuffix(o.Key, "/") })
	if len(files) == 0 {
		return Warn("source", "upload the first DAG file to "+s.URL.String()+", or correct the prefix if files should be there",
			"it can be listed, and holds no file: the first one is waited for, and where DAGs are live runs are held")
	}
	at := slices.IndexFunc(files, func(o bucket.Object) bool { return !o.Archived && o.Size > 0 })
	if at < 0 {
		return Good("source", "%s can be listed; whether they can be read is not proven: there is none to read", Count(len(files), "file"))
	}
	if err := readByte(ctx, b, files[at]); err != nil && !errors.Is(err, bucket.ErrChanged) { // changed is overwritten meanwhile: it can be read
		return Bad("source", repairOf(err, "read the source's files"), "it can be listed, but not read: %s", oneLine(err))
	}
	return Good("source", "%s can be listed, and read", Count(len(files), "file"))
}

func readByte(ctx context.Context, b bucket.Reader, o bucket.Object) error {
	body, err := b.Open(ctx, o.Key, o.Version, o.Size-1)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(body, 1))
	return err
}

// repairOf is what to do about an error of a bucket. Says has the rights that are missing.
func repairOf(err error, purpose string) string {
	switch {
	case errors.Is(err, bucket.ErrNoBucket):
		return "create the bucket, or correct its name in the configuration; on AWS see that AWS_REGION is its region"
	case errors.Is(err, bucket.ErrDenied):
		return "allow these credentials, and the function's, to " + purpose
	case errors.Is(err, bucket.ErrScheme):
		return "use a URL of another scheme"
	case errors.Is(err, context.DeadlineExceeded):
		return "see that the storage can be reached, and run doctor again"
	}
	return "see that the storage can be reached and lets these credentials " + purpose
}

// state proves by writing that the state is where a compare-and-swap is one.
func (p *patient) state(ctx context.Context) Check {
	b, err := p.Buckets.Open(ctx, p.cfg.State)
	if err != nil {
		return Bad("state", repairOf(err, "read and write the state"), "%s", oneLine(err))
	}
	p.states, p.store = b, state.NewStore(b, p.cfg.State.Prefix, p.route.Name)
	// Whoever is killed before it is deleted leaves an object that nothing reads.
	probe := &probe{bucket: b, key: p.cfg.State.Prefix + p.route.Name + "/doctor-" + rand.Text() + ".json"}
	problem, err := probe.run(ctx)
	cleanup := b.Delete(context.WithoutCancel(ctx), probe.key, "")
	switch {
	case err != nil:
		return Bad("state", repairOf(err, "read, write and delete below "+p.store.String()), "%s", oneLine(err))
	case problem != "":
		return Bad("state", "keep the state in S3, in Cloud Storage, or in a store that honours conditional writes (If-Match, If-None-Match, generations)",
			"%s: two runs could overwrite each other's record", problem)
	case cleanup != nil:
		return Bad("state", repairOf(cleanup, "delete below "+p.store.String()), "%s", oneLine(cleanup))
	}
	return Good("state", "%s can be written, and honours conditions", p.store)
}

// probe is an object that is there for a moment.
type probe struct {
	bucket bucket.Bucket
	key    string
}

// run returns what of the contract the storage does not keep, or an error that let it prove nothing.
func (p *probe) run(ctx context.Context) (problem string, err error) {
	first, err := p.put(ctx, 1, bucket.IfAbsent())
	if err != nil {
		return "", err
	}
	if _, err = p.put(ctx, 2, bucket.IfAbsent()); !errors.Is(err, bucket.ErrChanged) {
		return "it overwrites an object that must only be created", err
	}
	if _, err = p.put(ctx, 3, bucket.IfVersion(first)); err != nil {
		return "", err
	}
	if _, err = p.put(ctx, 4, bucket.IfVersion(first)); !errors.Is(err, bucket.ErrChanged) {
		return "it overwrites an object under the version of an older one", err
	}
	content, _, err := bucket.Read(ctx, p.bucket, p.key, "", 1<<10)
	if err == nil && !bytes.Equal(content, p.content(3)) {
		return "it does not return what was written last", nil
	}
	return "", err
}

func (p *probe) put(ctx context.Context, number int, when bucket.Condition) (string, error) {
	return p.bucket.Put(ctx, p.key, bytes.NewReader(p.content(number)), when)
}

func (*probe) content(number int) []byte {
	return fmt.Appendf(nil, "{\"doctor\": %d}\n", number)
}

// clock compares clocks; it says nothing where a source's listing did not tell the storage's.
func (p *patient) clock(context.Context) Check {
	switch {
	case !p.measured:
		return Skip("clock", "not checked: no listing told the storage's clock")
	case p.skew.Abs() > tolerable:
		which := "behind"
		if p.skew < 0 {
			which = "ahead of"
		}
		return Warn("clock", "set this machine's clock, such as with NTP; the function's own is the cloud's",
			"this machine's clock is %s %s the storage's", p.skew.Abs().Round(time.Second), which)
	}
	return Good("clock", "this machine's and the storage's agree")
}
