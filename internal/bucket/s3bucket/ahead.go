package s3bucket

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// maxAhead is how many bytes of a page are searched for the token of the next one. A thousand keys of 1,024 bytes have some 4 MB at most.
const maxAhead = 8 << 20

// pager asks for the pages of a listing in their order. Decoding one takes the SDK as long as waiting for it, so the next one is asked for
// as soon as a page is here; there are never more than two.
type pager struct {
	client *s3.Client
	in     s3.ListObjectsV2Input // of the first page

	calls sync.WaitGroup
	ahead *pageCall // of the page that is probably next; or nil
}

// pageCall is one call for a page.
type pageCall struct {
	token  string // of the page; "" for the first one
	cancel context.CancelFunc
	next   chan string   // gets the token of the page after it, if it has come before done
	done   chan struct{} // closed when page and err are set
	page   *s3.ListObjectsV2Output
	err    error
}

// get returns the page of this token; "" for the first one.
func (p *pager) get(ctx context.Context, token string) (*s3.ListObjectsV2Output, error) {
	call := p.ahead
	if call == nil || call.token != token {
		p.drop()
		call = p.start(ctx, token)
	}
	p.ahead = nil
	select {
	case next := <-call.next:
		if next != token {
			p.ahead = p.start(ctx, next)
		}
	case <-call.done:
	}
	<-call.done
	return call.page, call.err
}

// close ends what was asked for ahead.
func (p *pager) close() {
	p.drop()
	p.calls.Wait()
}

func (p *pager) drop() {
	if p.ahead != nil {
		p.ahead.cancel()
	}
}

func (p *pager) start(ctx context.Context, token string) *pageCall {
	ctx, cancel := context.WithCancel(ctx)
	c := &pageCall{token: token, cancel: cancel, next: make(chan string, 1), done: make(chan struct{})}
	in := p.in
	if token != "" {
		in.ContinuationToken = &token
	}
	p.calls.Go(func() {
		defer cancel()
		defer close(c.done)
		c.page, c.err = p.client.ListObjectsV2(ctx, &in, func(o *s3.Options) {
			o.APIOptions = append(o.APIOptions, c.lookAhead)
		})
	})
	return c
}

// lookAhead finds the token of the next page before the SDK decodes the answer. What it finds is a guess: the decoded page decides.
func (c *pageCall) lookAhead(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("LookAhead", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
		middleware.DeserializeOutput, middleware.Metadata, error,
	) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		if answer, ok := out.RawResponse.(*smithyhttp.Response); ok && err == nil && answer.StatusCode == http.StatusOK {
			answer.Body = c.search(answer.Body)
		}
		return out, metadata, err
	}), middleware.After)
}

// search returns a body that reads as this one would have.
func (c *pageCall) search(body io.ReadCloser) io.ReadCloser {
	text, err := io.ReadAll(io.LimitReader(body, maxAhead))
	if err != nil {
		return readCloser{io.MultiReader(bytes.NewReader(text), failing{err}), body}
	}
	if token := nextToken(text); token != "" {
		select {
		case c.next <- token:
		default: // of an earlier attempt
		}
	}
	return readCloser{io.MultiReader(bytes.NewReader(text), body), body}
}

// nextToken returns the token in a page, or "".
func nextToken(page []byte) string {
	const begin, end = "<NextContinuationToken>", "</NextContinuationToken>"
	from := bytes.Index(page, []byte(begin))
	if from < 0 {
		return ""
	}
	page = page[from:]
	to := bytes.Index(page, []byte(end))
	if to < 0 {
		return ""
	}
	var token string
	if xml.Unmarshal(page[:to+len(end)], &token) != nil {
		return ""
	}
	return token
}

type readCloser struct {
	io.Reader
	io.Closer
}

// failing is the rest of a body that broke off.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
