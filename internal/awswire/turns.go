package awswire

import (
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// requestsAtOnce leaves descriptors for bodies that are still being read and for Astro: Lambda has 1,024 for a process, and many routes may
// fetch their objects at the same time.
const requestsAtOnce = 256

// turns bounds the requests that have no answer yet. Reading an answer's body takes no turn: so a body that waits keeps nobody waiting.
type turns struct {
	client aws.HTTPClient
	taken  chan struct{}
}

func newTurns(client aws.HTTPClient) turns { return turns{client, make(chan struct{}, requestsAtOnce)} }

func (t turns) Do(r *http.Request) (*http.Response, error) {
	select {
	case t.taken <- struct{}{}:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	defer func() { <-t.taken }()
	return t.client.Do(r)
}
