package realtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pusher delivers messages as Pub/Sub does: side by side, up to so many at an instance, each until it is acknowledged or has come too often.
type pusher struct {
	urls        []string // of the instances; the load is balanced between them
	concurrency int      // requests at once at one instance, as Cloud Run's setting of this name
	backoff     time.Duration
	attempts    int // then the message goes to the dead-letter topic

	queue  chan push
	group  sync.WaitGroup
	mu     sync.Mutex
	open   int // messages that are not acknowledged
	acked  int
	dead   int
	failed []string // answers that made a message come again
	most   int      // requests at once, at all instances
	now    int
	took   []time.Duration // from the first delivery to the acknowledgement
}

type push struct {
	body  []byte
	tries int
	since time.Time
}

func newPusher(urls []string, concurrency int) *pusher {
	return &pusher{urls: urls, concurrency: concurrency, backoff: 30 * time.Second, attempts: 5, queue: make(chan push, 100_000)}
}

// start delivers until stop is called.
func (p *pusher) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	for _, url := range p.urls {
		for range p.concurrency {
			p.group.Go(func() {
				for {
					select {
					case m := <-p.queue:
						p.deliver(ctx, url, m)
					case <-ctx.Done():
						return
					}
				}
			})
		}
	}
	return func() {
		cancel()
		p.group.Wait()
	}
}

// publish puts a notification into the subscription, as often as copies says.
func (p *pusher) publish(t *testing.T, notification any, copies int) {
	body, err := json.Marshal(notification)
	require.NoError(t, err)
	p.mu.Lock()
	p.open += copies
	p.mu.Unlock()
	for range copies {
		p.queue <- push{body: body}
	}
}

func (p *pusher) deliver(ctx context.Context, url string, m push) {
	if m.since.IsZero() {
		m.since = time.Now()
	}
	p.begin(1)
	status, answer := post(ctx, url, m.body)
	p.begin(-1)
	p.mu.Lock()
	defer p.mu.Unlock()
	m.tries++
	switch {
	case status/100 == 2:
		p.acked, p.open, p.took = p.acked+1, p.open-1, append(p.took, time.Since(m.since))
	case m.tries >= p.attempts:
		p.dead, p.open = p.dead+1, p.open-1
	default:
		p.failed = append(p.failed, answer)
		time.AfterFunc(p.backoff, func() { p.queue <- m })
	}
}

func (p *pusher) begin(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now += n
	p.most = max(p.most, p.now)
}

func post(ctx context.Context, url string, body []byte) (status int, answer string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// waiting says how many messages are not acknowledged; "" if none.
func (p *pusher) unacknowledged() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}
