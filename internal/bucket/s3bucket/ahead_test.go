package s3bucket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/stretchr/testify/require"

	"github.com/dagbucket/dagbucket/internal/bucket/s3bucket"
)

// paged answers each call for a page by its token, without a network, and remembers the tokens.
type paged struct {
	documents map[string]string
	hang      string // token whose answer never comes
	givenUp   atomic.Bool

	mu     sync.Mutex
	tokens []string
}

func (p *paged) Do(r *http.Request) (*http.Response, error) {
	token := r.URL.Query().Get("continuation-token")
	p.mu.Lock()
	p.tokens = append(p.tokens, token)
	p.mu.Unlock()
	if p.hang != "" && token == p.hang {
		<-r.Context().Done()
		time.Sleep(time.Second)
		p.givenUp.Store(true)
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(p.documents[token])), Request: r}, nil
}

func (p *paged) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.tokens...)
}

// gates are what the decoding of a page waits for, by its token. It is each page's own: of two that wait, chance would pick one.
type gates map[string]chan struct{}

func shut(tokens ...string) gates {
	g := gates{}
	for _, token := range tokens {
		g[token] = make(chan struct{})
	}
	return g
}

// decodingWhen returns the paged bucket, where the decoding of a page waits until its gate, if it has one, is closed as a channel.
func (p *paged) decodingWhen(may gates) *s3bucket.Bucket {
	return s3bucket.New(s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://localhost"), HTTPClient: p, UsePathStyle: true,
		APIOptions: []func(*middleware.Stack) error{func(stack *middleware.Stack) error {
			return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("Wait", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
				middleware.DeserializeOutput, middleware.Metadata, error,
			) {
				out, metadata, err := next.HandleDeserialize(ctx, in)
				if gate, ok := may[in.Request.(*smithyhttp.Request).URL.Query().Get("continuation-token")]; ok {
					<-gate
				}
				return out, metadata, err
			}), middleware.After)
		}},
	}), "acme")
}

// listed is how a listing ended.
type listed struct {
	keys []string
	err  error
}

// list lists in the background.
func (p *paged) list(t *testing.T, may gates) <-chan listed {
	ended := make(chan listed)
	go func() {
		listing, err := p.decodingWhen(may).List(t.Context(), "")
		got := listed{err: err}
		for _, o := range listing.Objects {
			got.keys = append(got.keys, o.Key)
		}
		ended <- got
	}()
	return ended
}

// TestTheNextPageIsAskedForWhileOneIsDecoded, and none beyond it.
func TestTheNextPageIsAskedForWhileOneIsDecoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &paged{documents: map[string]string{
			"": result(next("a&amp;b/+=") + entry("1", "")), "a&b/+=": result(entry("2", "") + next("third")), "third": result(next("fourth") + entry("3", "")),
			"fourth": result(entry("4", "")),
		}}
		tokens := []string{"", "a&b/+=", "third", "fourth"}
		may := shut(tokens...)
		ended := server.list(t, may)
		for decoded, token := range tokens {
			synctest.Wait()
			require.Equal(t, tokens[:min(decoded+2, len(tokens))], server.asked(), "after %d pages were decoded", decoded)
			close(may[token])
		}
		require.Equal(t, listed{keys: []string{"1", "2", "3", "4"}}, <-ended)
		require.Len(t, server.asked(), 4)
	})
}

// TestAWrongGuessOfTheNextPage: the decoded page decides, and what was asked for by mistake is given up.
func TestAWrongGuessOfTheNextPage(t *testing.T) {
	for name, first := range map[string]string{
		"in a comment":        result("<!--" + next("wrong") + "-->" + next("right") + entry("1", "")),
		"before an attribute": result("<Owner>" + next("wrong") + `</Owner><IsTruncated>true</IsTruncated><NextContinuationToken a="b">right</NextContinuationToken>` + entry("1", "")),
		"after the end":       result(entry("1", "")) + next("wrong"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &paged{documents: map[string]string{"": first, "right": result(entry("2", ""))}, hang: "wrong"}
				may := shut("")
				ended := server.list(t, may)
				synctest.Wait()
				require.Equal(t, []string{"", "wrong"}, server.asked())
				close(may[""])
				got := <-ended
				require.NoError(t, got.err)
				want := []string{"1", "2"}
				if name == "after the end" {
					want = want[:1]
				}
				require.Equal(t, want, got.keys)
			})
		})
	}
}

// TestWhatNeedsNoGuess: a page without a token that can be read, or too large to be searched, is decoded as any other.
func TestWhatNeedsNoGuess(t *testing.T) {
	large := "<!--" + strings.Repeat("x", 9<<20) + "-->"
	for name, first := range map[string]string{
		"a prefix":    `<x:ListBucketResult xmlns:x="y"><x:Name>acme</x:Name><x:IsTruncated>true</x:IsTruncated><x:NextContinuationToken>2</x:NextContinuationToken></x:ListBucketResult>`,
		"too large":   result(large + next("2") + entry("1", "")),
		"not a token": result("<!--<NextContinuationToken>&nothing;</NextContinuationToken>-->" + next("2") + entry("1", "")),
		"no end":      result("<!--<NextContinuationToken>-->" + truncated + "<NextContinuationToken a=\"b\">2</NextContinuationToken >" + entry("1", "")),
	} {
		t.Run(name, func(t *testing.T) {
			server := &paged{documents: map[string]string{"": first, "2": result(entry("2", ""))}}
			listing, err := server.decodingWhen(nil).List(t.Context(), "")
			require.NoError(t, err)
			require.Equal(t, "2", listing.Objects[len(listing.Objects)-1].Key)
			require.Equal(t, []string{"", "2"}, server.asked())
		})
	}
}

// TestAListingThatFailsGivesUpWhatItAskedForAhead, and waits for its end: a request after a run would be of nobody.
func TestAListingThatFailsGivesUpWhatItAskedForAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &paged{documents: map[string]string{"": result("<KeyCount>7</KeyCount>" + next("2") + entry("1", ""))}, hang: "2"}
		may := shut("")
		ended := server.list(t, may)
		synctest.Wait()
		require.Equal(t, []string{"", "2"}, server.asked())
		close(may[""])
		require.ErrorContains(t, (<-ended).err, "counts 7 keys and shows 1")
		require.True(t, server.givenUp.Load())
	})
}

// TestThePageItselfIsNotAskedForAhead: a listing that does not get on has no further page.
func TestThePageItselfIsNotAskedForAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &paged{documents: map[string]string{"": result(next("2") + entry("1", "")), "2": result(next("2") + entry("2", ""))}}
		may := shut("", "2")
		ended := server.list(t, may)
		synctest.Wait()
		close(may[""])
		synctest.Wait()
		require.Equal(t, []string{"", "2"}, server.asked())
		close(may["2"])
		require.ErrorContains(t, (<-ended).err, "its next page is the same again")
	})
}

// TestAnErrorOfAPageIsKept while its next one is looked for.
func TestAnErrorOfAPageIsKept(t *testing.T) {
	page, wet := result(entry("1", "")), errors.New("the cable is wet")
	_, err := at("http://localhost", httpClient(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: cutBody{strings.NewReader(page[:len(page)-20]), wet}, Request: r}, nil
	})).List(t.Context(), "")
	require.ErrorIs(t, err, wet)
}

// TestAPageThatWasAskedForAheadFails as any page does, after those before it.
func TestAPageThatWasAskedForAheadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := map[string]int{}
		var mu sync.Mutex
		_, err := at("http://localhost", httpClient(func(r *http.Request) (*http.Response, error) {
			token := r.URL.Query().Get("continuation-token")
			mu.Lock()
			defer mu.Unlock()
			calls[token]++
			if token == "2" {
				return nil, fmt.Errorf("connection refused")
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(result(next("2") + entry("1", "")))), Request: r}, nil
		})).List(t.Context(), "")
		require.ErrorContains(t, err, "cannot list s3://acme/")
		require.Equal(t, map[string]int{"": 1, "2": 5}, calls, "repeated like any other")
	})
}
