package gcsserver

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// read answers with an object's content or metadata. What is compared with the preconditions is the very object being sent.
func (s *Server) read(w http.ResponseWriter, r *http.Request, t target) error {
	wanted, err := conditionsOf(r, t.api)
	if err != nil {
		return err
	}
	o, err := s.find(t)
	if err != nil {
		return err
	}
	if err := wanted.find(o, t.name, t.api); err == errPrecondition && !wanted.modified(o) {
		return errNotModified
	} else if err != nil {
		return err
	}
	switch {
	case !t.media:
		writeJSON(w, http.StatusOK, o.resource())
	case o.contentEncoding == "gzip" && !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip"):
		s.decompress(w, r, o)
	default:
		o.send(w, r)
	}
	return nil
}

// find returns the object, or nil if there is none in the bucket.
func (s *Server) find(t target) (*object, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o := s.shelf.get(t.name); o != nil {
		return o, nil
	}
	if !s.shelf.has(t.bucket) {
		return nil, errNoBucket
	}
	return nil, nil
}

// decompress has the fake send a compressed object to a reader who does not accept it so.
func (s *Server) decompress(w http.ResponseWriter, r *http.Request, o *object) {
	s.mu.Lock()
	o.putBack()
	answer := s.ask(r, "/download"+o.path(), nil)
	s.shelf.take(o.name)
	s.mu.Unlock()
	answer.send(w)
}

// send sends the content, or the range of it that was asked for.
func (o *object) send(w http.ResponseWriter, r *http.Request) {
	size := int64(len(o.content))
	header := w.Header()
	header.Set("Accept-Ranges", "bytes")
	first, last, ranged := parseRange(r.Header.Get("Range"), size)
	if ranged && first >= size {
		header.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		writeError(w, r, xmlAPI, &failure{status: http.StatusRequestedRangeNotSatisfiable, code: "InvalidRange",
			message: "The requested range cannot be satisfied.", details: r.Header.Get("Range")})
		return
	}
	o.describe(header)
	content, status := o.content, http.StatusOK
	if ranged {
		header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, size))
		content, status = content[first:last+1], http.StatusPartialContent
	} else {
		header["X-Goog-Hash"] = []string{"crc32c=" + o.crc32c, "md5=" + o.md5} // they are of all of it
	}
	header.Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		_, _ = w.Write(content)
	}
}

// describe sets the headers that do not depend on the range.
func (o *object) describe(header http.Header) {
	encoding := o.contentEncoding
	if encoding == "" {
		encoding = "identity"
	}
	cacheControl := o.cacheControl
	if cacheControl == "" {
		cacheControl = "private, max-age=0"
	}
	sum, _ := base64.StdEncoding.DecodeString(o.md5)
	for name, value := range map[string]string{
		"ETag": `"` + hex.EncodeToString(sum) + `"`, "Last-Modified": o.updated.Format(http.TimeFormat),
		"Content-Type": o.contentType, "Content-Encoding": o.contentEncoding, "Content-Language": o.contentLanguage,
		"Content-Disposition": o.contentDisposition, "Cache-Control": cacheControl,
		"X-Goog-Generation": strconv.FormatInt(o.generation, 10), "X-Goog-Metageneration": strconv.FormatInt(o.metageneration, 10),
		"X-Goog-Storage-Class": o.storageClass, "X-Goog-Stored-Content-Encoding": encoding,
		"X-Goog-Stored-Content-Length": strconv.Itoa(len(o.content)),
	} {
		if value != "" {
			header.Set(name, value)
		}
	}
	for name, value := range o.metadata {
		header.Set("X-Goog-Meta-"+name, value)
	}
}

// parseRange reads a Range header for content of this size. As for Cloud Storage, what makes no sense asks for everything; a range
// that begins behind the end is returned as it is.
func parseRange(header string, size int64) (first, last int64, ranged bool) {
	spec, isBytes := strings.CutPrefix(header, "bytes=")
	from, to, found := strings.Cut(spec, "-")
	if !isBytes || !found {
		return 0, 0, false
	}
	if from == "" { // the last bytes
		n, err := strconv.ParseInt(to, 10, 64)
		return max(size-n, 0), size - 1, err == nil && n >= 0
	}
	first, err := strconv.ParseInt(from, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	last = size - 1
	if to != "" {
		if last, err = strconv.ParseInt(to, 10, 64); err != nil || last < first {
			return 0, 0, false
		}
	}
	return first, min(last, size-1), true
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(encoded(v))
}
