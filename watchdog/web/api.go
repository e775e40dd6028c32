package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"

	"edgewatch/watchdog"
)

// Limits of a history request.
const (
	defaultHistory = 20
	maxHistory     = 1000
)

// Bodies of the API.
type (
	statusBody struct {
		Federations []*watchdog.Snapshot `json:"federations"`
	}
	historyBody struct {
		Entries []watchdog.Entry `json:"entries"`
	}
	errorBody struct {
		Error       string   `json:"error"`
		Federations []string `json:"federations,omitempty"` // that there are, where one was meant that there is not
	}
)

// API serves the local socket:
//
//	GET  /api/v1/status                      {"federations": [Snapshot…]}
//	GET  /api/v1/status/{federation}         Snapshot
//	GET  /api/v1/history?federation=F&n=20   {"entries": [Entry…]}, the newest n, oldest first
//	POST /api/v1/commands                    Command → Answer: 200 accepted, 409 refused
//
// A Command is {"id", "federation", "verb", "reason"} and, where the table of
// verbs says so, "pool", "for" (nanoseconds), "step" and "force"; see
// watchdog.Verbs. Fields are added to answers and never taken away.
// Errors are {"error": "…"} with 400, 404, 405, 413, 415, 500, 503
// (stopping; nothing changed) or 504 (a command may or may not have been
// accepted: its history tells, and so does giving it again). The 404 of a
// federation that there is not names in "federations" those that there are. A
// command needs an id, which makes repeating it safe. Its actor is the user at
// the other end of the socket, whatever the body says.
func API(w Watchdog) http.Handler {
	a := &api{w: w}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/status", only(http.MethodGet, a.status))
	mux.HandleFunc("/api/v1/status/{federation}", only(http.MethodGet, a.federation))
	mux.HandleFunc("/api/v1/history", only(http.MethodGet, a.history))
	mux.HandleFunc("/api/v1/commands", only(http.MethodPost, a.command))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		replyError(w, http.StatusNotFound, errors.New("no such path"))
	})
	return mux
}

type api struct{ w Watchdog }

// only admits one method. The mux could do it, but not with a JSON answer.
func only(method string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			replyError(w, http.StatusMethodNotAllowed, fmt.Errorf("%s %s: only %s is allowed", r.Method, r.URL.Path, method))
			return
		}
		h(w, r)
	}
}

func (a *api) status(w http.ResponseWriter, _ *http.Request) {
	replyJSON(w, http.StatusOK, statusBody{Federations: append([]*watchdog.Snapshot{}, a.w.Snapshots()...)})
}

func (a *api) federation(w http.ResponseWriter, r *http.Request) {
	unknown := watchdog.NoFederationError{Name: r.PathValue("federation")}
	for _, s := range a.w.Snapshots() {
		if s.Federation == unknown.Name {
			replyJSON(w, http.StatusOK, s)
			return
		}
		unknown.Known = append(unknown.Known, s.Federation)
	}
	replyError(w, http.StatusNotFound, unknown)
}

func (a *api) history(w http.ResponseWriter, r *http.Request) {
	n, err := count(r.URL.Query().Get("n"))
	if err != nil {
		replyError(w, http.StatusBadRequest, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), commandTimeout)
	defer cancel()
	entries, err := a.w.History(ctx, r.URL.Query().Get("federation"), n)
	if err != nil {
		replyError(w, statusOf(err), err)
		return
	}
	replyJSON(w, http.StatusOK, historyBody{Entries: append([]watchdog.Entry{}, entries...)})
}

func count(s string) (int, error) {
	if s == "" {
		return defaultHistory, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxHistory {
		return 0, fmt.Errorf("n must be a number from 1 to %d", maxHistory)
	}
	return n, nil
}

func (a *api) command(w http.ResponseWriter, r *http.Request) {
	cmd, status, err := readCommand(w, r)
	if err != nil {
		replyError(w, status, err)
		return
	}
	// The command is carried through even if the client hangs up meanwhile:
	// it may be durable already, and then its answer is in the history.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), commandTimeout)
	defer cancel()
	answer, err := a.w.Submit(ctx, cmd)
	switch {
	case err != nil:
		replyError(w, statusOf(err), err)
	case !answer.Accepted:
		replyJSON(w, http.StatusConflict, answer)
	default:
		replyJSON(w, http.StatusOK, answer)
	}
}

// readCommand decodes a command and says who gave it.
func readCommand(w http.ResponseWriter, r *http.Request) (watchdog.Command, int, error) {
	var cmd watchdog.Command
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "application/json" {
		return cmd, http.StatusUnsupportedMediaType, errors.New("a command is application/json")
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(&cmd)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the command")
		}
	}
	if _, big := errors.AsType[*http.MaxBytesError](err); big {
		return cmd, http.StatusRequestEntityTooLarge, fmt.Errorf("a command has at most %d bytes", maxBody)
	}
	if err != nil {
		return cmd, http.StatusBadRequest, fmt.Errorf("decode command: %w", err)
	}
	if cmd.ID == "" || len(cmd.ID) > 128 {
		return cmd, http.StatusBadRequest, errors.New("a command needs an id of 1 to 128 bytes, a new one for every order")
	}
	if err := cmd.Verb.Validate(); err != nil {
		return cmd, http.StatusBadRequest, err
	}
	cmd.Actor = peerOf(r.Context())
	if cmd.Via != viaCLI {
		cmd.Via = viaAPI
	}
	return cmd, 0, nil
}

// The surfaces that come through here.
const (
	viaCLI = "cli"
	viaAPI = "api"
)

func statusOf(err error) int {
	switch {
	case errors.Is(err, watchdog.ErrNoFederation):
		return http.StatusNotFound
	case errors.Is(err, watchdog.ErrStopping):
		return http.StatusServiceUnavailable
	case errors.Is(err, watchdog.ErrUnsure):
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

func replyError(w http.ResponseWriter, status int, err error) {
	unknown, _ := errors.AsType[watchdog.NoFederationError](err)
	replyJSON(w, status, errorBody{Error: err.Error(), Federations: unknown.Known})
}

func replyJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"the answer could not be encoded"}`)
	}
	reply(w, status, "application/json", append(b, '\n'))
}
