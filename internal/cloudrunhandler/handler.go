// Package cloudrunhandler is the Cloud Run function without its framework: an event in, what its sender expects out.
package cloudrunhandler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/dagbucket/dagbucket/internal/event"
	"github.com/dagbucket/dagbucket/internal/service"
)

const (
	maxBody = 8 << 20 // bytes; Pub/Sub itself delivers at most 10 MB, and notifications have a few KiB
	// assumedTimeout is the longest that Cloud Run functions allow an event's request; it is used where the environment names none.
	assumedTimeout = 540 * time.Second
)

// Handler serves events. The zero value is not usable; make one with New.
type Handler struct{ entry *service.Entry }

// New returns a Handler of the service that wire makes. That should share runs: requests are served side by side.
func New(wire func(context.Context) (*service.Service, error), log *slog.Logger) *Handler {
	return &Handler{&service.Entry{Wire: wire, Log: log}}
}

// ServeHTTP runs what a request asks for, and answers when a run that covers it has ended: 200 with the results, or 5xx if it should
// come again, which is also how what nobody understands reaches a dead-letter topic. The request's context should have a deadline.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "events come by POST; an empty one runs every route", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		h.entry.Log.Error("cannot read an event", "error", err)
		http.Error(w, "the body cannot be read, or is larger than 8 MiB", http.StatusBadRequest)
		return
	}
	batch, err := event.DecodeRequest(r.Header, body)
	if err != nil {
		h.entry.Log.Error("cannot decode an event; it fails until it reaches the dead-letter topic", "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	report, err := h.handle(r.Context(), batch)
	if err != nil {
		http.Error(w, err.Error(), statusOf(batch))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(report.Answer())
}

// Background serves one event of a 1st-gen background function: an error makes it come again, if retries are on.
func (h *Handler) Background(ctx context.Context, eventType string, at time.Time, data []byte) error {
	batch, err := event.DecodeBackground(eventType, at, data)
	if err == nil {
		_, err = h.handle(ctx, batch)
	}
	return err
}

// handle returns an error if the event should come again.
func (h *Handler) handle(ctx context.Context, batch event.Batch) (service.Report, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, assumedTimeout)
		defer cancel()
	}
	report := h.entry.Handle(ctx, batch)
	if len(report.Failed) == 0 {
		return report, nil
	}
	for _, m := range batch.Messages {
		if m.Err != nil {
			return report, fmt.Errorf("cannot decode the event: %w", m.Err)
		}
	}
	return report, errors.New(strings.Join(report.Retryable(), "; "))
}

// statusOf tells what will never be understood from what may pass. Both come again.
func statusOf(batch event.Batch) int {
	for _, m := range batch.Messages {
		if m.Err != nil {
			return http.StatusInternalServerError
		}
	}
	return http.StatusServiceUnavailable
}
