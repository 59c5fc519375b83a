package astro

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dagbucket/dagbucket/internal/network"
)

const (
	maxImportErrors = 1000
	maxTrace        = 16 << 10 // bytes of a stack trace that are kept
	maxFile         = 4096     // bytes of a file's name; a longer one is none
	importErrorPage = 50       // errors that are asked for at once; Airflow may give fewer
	maxPages        = 40
	maxPage         = 8 << 20 // bytes of one page that are read

	// Nobody's deploy waits for what Airflow says, so it gets less time than Astro.
	pageTimeout    = 20 * time.Second // one page
	airflowTimeout = time.Minute      // all of them, with repeats
)

var errSlowAirflow = errors.New("it took more than a minute")

// ImportError is a file that Airflow could not import.
type ImportError struct {
	File  string    // as Airflow names it: an absolute path (Airflow 2), or one relative to its folder of DAGs (Airflow 3)
	Trace string    // the stack trace, or the end of a long one; may have lines and tabs, and no other control character
	At    time.Time // zero when Airflow gives no readable time
}

// ImportErrors asks the Deployment's Airflow what it could not import: at most 1,000 errors, in no promised order. If they change while
// several pages are read, some may be missing.
func (c *Client) ImportErrors(ctx context.Context) ([]ImportError, error) {
	d, err := c.Deployment(ctx)
	if err != nil {
		return nil, err
	}
	a := airflow{client: c, op: "ask the Airflow of Deployment " + c.deployment + " for import errors"}
	if d.Hibernating() {
		return nil, &Error{Op: a.op, Problem: hibernates, Repair: wakeRepair, permanent: true, hibernating: true}
	}
	var problem string
	if a.base, problem = airflowURL(d.AirflowAPIURL, d.RuntimeVersion, c.plainHTTP); problem != "" {
		return nil, &Error{Op: a.op, Problem: problem, Repair: withoutAirflow, permanent: true}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, airflowTimeout, errSlowAirflow)
	defer cancel()
	return a.importErrors(ctx)
}

const withoutAirflow = "if it stays like this, set import_errors: false"

var airflowVersion = regexp.MustCompile(`/api/v[0-9]+$`)

// airflowURL is the base of the Airflow API that a Deployment names, of the version that its Runtime has; problem says why there is none.
// It goes by https, or in the clear to this very machine if Astro's own API does.
func airflowURL(given, runtime string, plainHTTP bool) (base, problem string) {
	const unusable = "Astro gives an address of the Airflow API that cannot be used"
	for _, b := range []byte(given) {
		if b <= ' ' || b >= 0x7f || strings.IndexByte(`?#\@%`, b) >= 0 {
			return "", unusable
		}
	}
	if !strings.Contains(given, "://") {
		scheme := "https://"
		if plain, err := url.Parse("http://" + given); err == nil && plainHTTP && plainLoopback(plain) {
			scheme = "http://"
		}
		given = scheme + given
	}
	u, err := url.Parse(given)
	switch {
	case err != nil || u.Hostname() == "":
		return "", unusable
	case u.Scheme != "https" && !(plainHTTP && plainLoopback(u)):
		return "", unusable + ": it does not begin with https://"
	}
	path := strings.TrimRight(u.Path, "/")
	version := airflowVersion.FindString(path)
	path = strings.TrimRight(strings.TrimSuffix(path, version), "/")
	switch line, _, dash := strings.Cut(runtime, "-"); {
	case dash && strings.Count(line, ".") == 1: // such as 3.1-4
		version = "/api/v2"
	case strings.Count(line, ".") >= 2: // such as 13.2.0
		version = "/api/v1"
	case version != "/api/v1":
		version = "/api/v2"
	}
	return u.Scheme + "://" + u.Host + path + version, ""
}

// airflow is one Deployment's Airflow API. Its errors are about Airflow, not about Astro.
type airflow struct {
	client *Client
	op     string
	base   string
}

// importErrors reads page after page. Airflow 3 cuts and counts rows, of which a file has one for each of its DAGs, so that a page may hold
// fewer files than rows; and any Airflow may be set to give fewer than asked for. Where the next page repeats what the last one had, it is rows.
func (a airflow) importErrors(ctx context.Context) (found []ImportError, err error) {
	seen := map[int64]bool{}
	rows := false
	for offset, pages := 0, 0; pages < maxPages && len(found) < maxImportErrors; pages++ {
		var page []numberedError
		var total int
		err := repeat(ctx, func() error {
			return a.client.authorized(ctx, func(token *apiToken) (err error) {
				page, total, err = a.page(ctx, token, offset)
				return err
			})
		})
		if err != nil {
			return nil, err
		}
		for _, e := range page {
			rows = rows || seen[e.id]
			if !seen[e.id] && e.File != "" && len(found) < maxImportErrors {
				found = append(found, e.ImportError)
			}
			seen[e.id] = true
		}
		offset += len(page)
		if rows {
			offset += importErrorPage - len(page)
		}
		if len(page) == 0 || offset >= total {
			break
		}
	}
	return found, nil
}

type numberedError struct {
	id int64
	ImportError
}

// page reads the errors from an offset on.
func (a airflow) page(ctx context.Context, token *apiToken, offset int) (page []numberedError, total int, err error) {
	callCtx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	address := fmt.Sprintf("%s/importErrors?limit=%d&offset=%d", a.base, importErrorPage, offset)
	req, err := http.NewRequestWithContext(callCtx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, &Error{Op: a.op, Problem: "the request cannot be made", permanent: true, cause: token.secrets.causeOf(err)}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+token.raw)
	req.Header.Set("User-Agent", a.client.agent)
	resp, err := a.client.transport.RoundTrip(req) // and so follows no redirect
	if err != nil {
		return nil, 0, noAnswer(ctx, callCtx, a.op, pageTimeout, req.URL.Host, token.secrets, err)
	}
	body, err := readPage(resp)
	switch {
	case resp.StatusCode != http.StatusOK:
		return nil, 0, a.refusal(token.secrets, resp, body)
	case err != nil:
		return nil, 0, noAnswer(ctx, callCtx, a.op, pageTimeout, req.URL.Host, token.secrets, fmt.Errorf("the answer broke off: %w", err))
	case len(body) > maxPage:
		return nil, 0, &Error{Op: a.op, Problem: "a page of import errors has more than 8 MiB", Status: resp.StatusCode, Repair: withoutAirflow, permanent: true}
	}
	return a.parse(token.secrets, resp, body)
}

func readPage(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxPage+1))
}

// parse reads a page; both versions of the API have the same fields.
func (a airflow) parse(s secrets, resp *http.Response, body []byte) (page []numberedError, total int, err error) {
	var answer struct {
		Errors *[]struct {
			ID    int64  `json:"import_error_id"`
			At    string `json:"timestamp"`
			File  string `json:"filename"`
			Trace string `json:"stack_trace"`
		} `json:"import_errors"`
		Total int `json:"total_entries"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Errors == nil {
		var syntax *json.SyntaxError
		if len(bytes.TrimSpace(body)) == 0 || errors.As(err, &syntax) && syntax.Offset >= int64(len(body)) {
			return nil, 0, &Error{Op: a.op, Problem: "the answer is empty or cut short", Status: resp.StatusCode, repeatable: true}
		}
		return nil, 0, &Error{Op: a.op, Status: resp.StatusCode, Repair: notAirflow, permanent: true,
			Problem: fmt.Sprintf("the answer (%q) is not Airflow's list of import errors", s.line(resp.Header.Get("Content-Type"), maxName))}
	}
	for _, e := range *answer.Errors {
		at, _ := time.Parse(time.RFC3339, e.At)
		page = append(page, numberedError{e.ID, ImportError{File: s.file(e.File), Trace: s.trace(e.Trace), At: at.UTC()}})
	}
	return page, answer.Total, nil
}

// file is a file's name, or "" if it cannot be that of a file of ours.
func (s secrets) file(name string) string {
	if len(name) > maxFile || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || s.redact(name) != name {
		return ""
	}
	return name
}

// trace makes a stack trace fit to be shown: redacted, printable, and of a long one the end, where Python says what is wrong.
func (s secrets) trace(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s.redact(text), "?"))
	if len(text) <= maxTrace {
		return text
	}
	const cut = "…"
	return cut + strings.ToValidUTF8(text[len(text)-maxTrace+len(cut):], "")
}

const (
	notAirflow   = "check that the API token may use the Deployment's Airflow, and that no proxy answers in its place; " + withoutAirflow
	rightsRepair = "give the API token a role that may read import errors (a custom role needs deployment.airflow.importError.get), or set import_errors: false"
)

// refusal turns an answer other than 200 into an error.
func (a airflow) refusal(s secrets, resp *http.Response, body []byte) error {
	e := &Error{Op: a.op, Status: resp.StatusCode, Problem: statusText(resp.StatusCode), Message: s.line(airflowMessage(body), maxMessage)}
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized:
		e.Problem, e.Repair, e.permanent = "Airflow refuses the API token ("+e.Problem+")", notAirflow, true
	case status == http.StatusForbidden:
		e.Problem, e.Repair, e.permanent = "the API token has no right to do this ("+e.Problem+")", rightsRepair, true
	case status == http.StatusNotFound:
		e.Problem, e.Repair, e.permanent = "there is no such Airflow API ("+e.Problem+")", "see whether the Deployment's Airflow opens in Astro; "+withoutAirflow, true
	case status >= 300 && status < 400:
		e.Problem, e.Repair, e.permanent = "the answer is a redirect ("+e.Problem+"), which is not followed", notAirflow, true
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status == http.StatusTooEarly:
		e.repeatable, e.retryAfter = true, network.RetryAfter(resp.Header)
		e.Repair = "Airflow may be starting: a later run asks again"
	default:
		e.Repair, e.permanent = withoutAirflow, true
	}
	return e
}

// airflowMessage is what an error of Airflow says: detail or title (Airflow 2), detail or error (Airflow 3), or message (Astro in its place).
func airflowMessage(body []byte) string {
	var said map[string]any
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	for _, key := range []string{"detail", "message", "error", "title"} {
		if text, ok := said[key].(string); ok && text != "" {
			return text
		}
	}
	return ""
}
