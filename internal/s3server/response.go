package s3server

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"

	"github.com/johannesboyne/gofakes3"
)

// matchingWriter adds If-Match to reads: the ETag it compares belongs to the very object being sent, which may have been replaced since
// the request began.
type matchingWriter struct {
	http.ResponseWriter
	request  *http.Request
	started  bool
	rejected bool
}

func (w *matchingWriter) WriteHeader(status int) {
	if w.started {
		return
	}
	w.started = true
	etag := w.Header().Get("ETag")
	if w.rejected = etag != "" && !matches(w.request, etag); !w.rejected {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	for _, name := range []string{"Content-Range", "Accept-Ranges", "Last-Modified", "ETag", "Content-Encoding"} {
		w.Header().Del(name)
	}
	writeError(w.ResponseWriter, w.request, gofakes3.ErrPreconditionFailed)
}

func (w *matchingWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.rejected {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// recorder holds a small answer back until the change is known to be whole.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *recorder) Header() http.Header { return a.header }

func (a *recorder) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *recorder) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

var etagElement = regexp.MustCompile(`<ETag>[^<]*</ETag>`)

// setUploadETag makes the answer to CompleteMultipartUpload name the ETag that reads and listings will show: gofakes3 answers with one
// that it then forgets.
func (a *recorder) setUploadETag(etag string) {
	body := etagElement.ReplaceAllLiteral(a.body.Bytes(), fmt.Appendf(nil, "<ETag>%s</ETag>", etag))
	a.body = *bytes.NewBuffer(body)
}

func (a *recorder) send(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(max(a.status, http.StatusOK))
	_, _ = w.Write(a.body.Bytes())
}
