package s3server

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/johannesboyne/gofakes3"
)

// decodeUpload makes r's body the plain bytes of the object, whatever framing the SDK chose (gofakes3 knows only the oldest),
// and drops the headers of the transfer: gofakes3 would store them and repeat them with every read.
func decodeUpload(r *http.Request) error {
	size := r.ContentLength
	if strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		var err error
		size, err = strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
		if err != nil || size < 0 {
			return gofakes3.ErrMissingContentLength
		}
		r.Body = struct {
			io.Reader
			io.Closer
		}{&chunks{body: bufio.NewReader(r.Body), remaining: size}, r.Body}
		r.ContentLength = size
		r.Header.Set("Content-Length", strconv.FormatInt(size, 10))
	}
	if size > MaxBody {
		return entityTooLarge
	}
	setContentEncoding(r.Header)
	for name := range r.Header {
		if isTransferHeader(name) {
			r.Header.Del(name)
		}
	}
	return nil
}

// setContentEncoding takes out "aws-chunked", which is no encoding of the object.
func setContentEncoding(h http.Header) {
	var kept []string
	for name := range strings.SplitSeq(h.Get("Content-Encoding"), ",") {
		if name = strings.TrimSpace(name); name != "" && name != "aws-chunked" {
			kept = append(kept, name)
		}
	}
	if h.Del("Content-Encoding"); len(kept) > 0 {
		h.Set("Content-Encoding", strings.Join(kept, ","))
	}
}

func isTransferHeader(name string) bool {
	if !strings.HasPrefix(name, "X-Amz-") {
		return false
	}
	for _, kept := range []string{"X-Amz-Meta-", "X-Amz-Copy-", "X-Amz-Metadata-Directive", "X-Amz-Storage-Class", "X-Amz-Tagging"} {
		if strings.HasPrefix(name, kept) {
			return false
		}
	}
	return true
}

var errBadChunk = errors.New("the aws-chunked body is malformed")

// chunks reads an aws-chunked body: "<hex size>[;extension]\r\n<bytes>\r\n", ended by a chunk of size 0 and trailers.
type chunks struct {
	body      *bufio.Reader
	inChunk   int64 // bytes left in the current chunk
	remaining int64 // bytes left of the object
	started   bool
	done      bool
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.done {
		return 0, io.EOF
	}
	if c.inChunk == 0 {
		if err := c.next(); err != nil || c.done {
			if err == nil {
				err = io.EOF
			}
			return 0, err
		}
	}
	n, err := c.body.Read(p[:min(int64(len(p)), c.inChunk)])
	c.inChunk -= int64(n)
	c.remaining -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // a whole body ends with the chunk of size 0
	}
	return n, err
}

// next reads the header of the next chunk, or the trailers when there is none.
func (c *chunks) next() error {
	if c.started {
		if line, err := c.line(); err != nil || line != "" {
			return errors.Join(errBadChunk, err)
		}
	}
	c.started = true
	line, err := c.line()
	if err != nil {
		return err
	}
	digits, _, _ := strings.Cut(line, ";")
	c.inChunk, err = strconv.ParseInt(digits, 16, 64)
	if err != nil || c.inChunk < 0 || c.inChunk > c.remaining || c.inChunk == 0 && c.remaining > 0 {
		return errBadChunk
	}
	if c.inChunk == 0 {
		c.done = true
		// Trailers hold checksums, which are not checked here; reading them lets the connection be used again.
		_, err = io.Copy(io.Discard, c.body)
	}
	return err
}

func (c *chunks) line() (string, error) {
	line, err := c.body.ReadSlice('\n')
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return strings.TrimRight(string(line), "\r\n"), err
}
