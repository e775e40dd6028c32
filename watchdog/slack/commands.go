package slack

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	api "github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"edgewatch/watchdog"
)

const (
	maxWait    = time.Minute     // a command that waited longer in our queue is not carried out any more
	maxClick   = 5 * time.Minute // nor is a click that reaches us later than this
	historyLen = 15
	answerTry  = 3
)

var errBreaks = errors.New("it breaks right after it is opened")

// job is what a user did, taken out of Slack's payloads.
type job struct {
	at                        time.Time // when it reached us
	user, name, team, channel string
	text                      string    // the words typed
	action                    string    // the button clicked
	click                     *click    // what the button carried; nil for a command
	clicked                   time.Time // by Slack's clock
	theirs                    time.Time // Slack's time when it reached us
	key                       string    // the same for every delivery of the same act
	responseURL               string
}

// newJob reads an event; false means that it is nothing of ours.
func newJob(evt socketmode.Event) (job, bool) {
	switch d := evt.Data.(type) {
	case api.SlashCommand:
		return job{
			at: time.Now(), user: d.UserID, name: d.UserName, team: d.TeamID, channel: d.ChannelID, text: d.Text,
			key: d.UserID + "|" + d.TriggerID, responseURL: d.ResponseURL,
		}, true
	case api.InteractionCallback:
		if d.Type != api.InteractionTypeBlockActions || len(d.ActionCallback.BlockActions) == 0 {
			return job{}, false
		}
		a := d.ActionCallback.BlockActions[0]
		j := job{
			at: time.Now(), user: d.User.ID, name: d.User.Name, team: d.User.TeamID, channel: d.Channel.ID, action: a.ActionID, click: &click{},
			key: strings.Join([]string{d.User.ID, d.Container.MessageTs, a.ActionID, a.ActionTs}, "|"), responseURL: d.ResponseURL,
		}
		if j.team == "" {
			j.team = d.Team.ID
		}
		if sec, err := strconv.ParseFloat(a.ActionTs, 64); err == nil {
			j.clicked = time.Unix(int64(sec), 0)
		}
		// A value that is no click of ours leaves it empty and is refused.
		_ = json.Unmarshal([]byte(a.Value), j.click)
		return j, true
	}
	return job{}, false
}

// actor is who did it, as the journal keeps it.
func (j job) actor() string {
	if j.name == "" {
		return j.user
	}
	return fmt.Sprintf("%s (%s)", j.user, clip(j.name, 80))
}

// id makes the command idempotent: the same act has the same id, also after
// a restart. Slack's trigger ids are credentials for a while, so it is hashed.
func (j job) id() string {
	sum := sha256.Sum256([]byte(j.key))
	return "slack-" + hex.EncodeToString(sum[:12])
}

// work carries out what is queued, in order, until ctx ends.
func (r *receiver) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-r.queue:
			if r.effects.has(j.key) {
				continue
			}
			r.effects.add(j.key)
			work, cancel := context.WithTimeout(ctx, r.s.o.Timing.Answer)
			r.reply(r.answers, answered{j, r.s.answer(work, j)})
			cancel()
		}
	}
}

// answered is a job with the answer for its user.
type answered struct {
	job
	answer string
}

// reply queues an answer. It never blocks: one for which there is no room is
// not sent.
func (r *receiver) reply(to chan answered, a answered) {
	select {
	case to <- a:
	default:
		r.s.unanswered(a.job, errors.New("too many answers are waiting"))
	}
}

// speak sends answers, in order, until ctx ends.
func (r *receiver) speak(ctx context.Context, answers chan answered) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-answers:
			if err := r.s.respond(ctx, a.job, a.answer); err != nil {
				r.s.unanswered(a.job, err)
			}
		}
	}
}

func (s *Slack) unanswered(j job, err error) {
	s.failed.Add(1)
	s.o.Log.Warn().Err(err).Str("user", j.user).Msg("slack command answered, but the answer did not reach its user")
}

// answer carries out j and says what came of it. A panic is answered like an
// error: the next command must still be heard.
func (s *Slack) answer(ctx context.Context, j job) (text string) {
	log := s.logOf(j)
	defer func() {
		if p := recover(); p != nil {
			log.Error().Interface("panic", p).Msg("slack command panicked")
			text = "edgewatch could not carry that out (a fault of its own, see its log). Look at `" + s.o.Command + " status` before you repeat it."
		}
	}()
	if no := s.outdated(j); no != "" {
		return s.refuse(j, no)
	}
	req, no := s.request(j)
	if no != "" {
		log.Info().Str("reason", no).Msg("slack command not understood")
		return no
	}
	if req.Read != "" {
		return s.read(ctx, req)
	}
	cmd := req.Command
	cmd.ID, cmd.Actor, cmd.Via = j.id(), j.actor(), "slack"
	if cmd.Federation = cmp.Or(cmd.Federation, req.Federation); cmd.Federation == "" {
		if cmd.Federation, no = s.federation(); no != "" {
			return no
		}
	}
	a, err := s.o.Watchdog.Submit(ctx, cmd)
	if err != nil {
		log.Error().Err(err).Str("command", cmd.ID).Msg("slack command failed")
		if errors.Is(err, watchdog.ErrUnsure) {
			return fmt.Sprintf("? It is not known whether it was done: %s. Look at `%s history` and `%s status` before you repeat it.", esc(err.Error()), s.o.Command, s.o.Command)
		}
		return fmt.Sprintf("✕ edgewatch could not take the command: %s. Nothing is known to have changed; look at `%s status` before you repeat it.", esc(err.Error()), s.o.Command)
	}
	log.Info().Str("command", cmd.ID).Bool("accepted", a.Accepted).Str("answer", a.Text).Msg("slack command answered")
	if !a.Accepted {
		return "✕ " + esc(a.Text)
	}
	return "✓ " + esc(a.Text)
}

func (s *Slack) logOf(j job) zerolog.Logger {
	return s.o.Log.With().Str("user", j.user).Str("name", j.name).Str("team", j.team).Str("channel", j.channel).
		Str("text", clip(j.text, 200)).Str("action", j.action).Logger()
}

// refuse logs that j is not done and gives back why.
func (s *Slack) refuse(j job, why string) string {
	log := s.logOf(j)
	log.Warn().Str("reason", why).Msg("slack command refused")
	return why
}

// stranger says why this user may not do this here, or "".
func (s *Slack) stranger(j job) string {
	switch {
	case !slices.Contains(s.o.Users, j.user):
		return fmt.Sprintf("Nothing was done: your user id %s is not on edgewatch's list (slack.users). Ask one of its administrators.", esc(j.user))
	case s.o.Team != "" && j.team != s.o.Team:
		return "Nothing was done: edgewatch takes commands from users of its own workspace only (slack.team)."
	case len(s.o.Channels) > 0 && !slices.Contains(s.o.Channels, j.channel):
		return "Nothing was done: edgewatch takes no commands in this channel (slack.channels)."
	}
	return ""
}

// outdated says why it is too late to do this, or "".
func (s *Slack) outdated(j job) string {
	switch {
	case time.Since(j.at) > maxWait:
		return "Nothing was done: edgewatch was busy, and your command is older than a minute. Type it again if it still holds."
	case j.click != nil && !j.clicked.IsZero() && j.theirs.Sub(j.clicked) > maxClick:
		return fmt.Sprintf("Nothing was done: your click reached edgewatch %s late. Click again if it still holds.", lateness(j.theirs.Sub(j.clicked)))
	}
	return ""
}

// request is what the user asks for: the words typed, or the button's
// meaning, checked against how things stand now and not when it was drawn.
func (s *Slack) request(j job) (watchdog.Request, string) {
	if j.click == nil {
		words := strings.Fields(j.text)
		req, err := watchdog.ParseRequest(words)
		if err != nil {
			return req, fmt.Sprintf("%s. `%s help` lists what there is.", esc(strings.TrimSuffix(err.Error(), ".")), s.o.Command)
		}
		return req, ""
	}
	cmd, refusal := s.clicked(j.action, j.click)
	return watchdog.Request{Command: cmd}, refusal
}

func (s *Slack) snapshot(federation string) *watchdog.Snapshot {
	for _, snap := range s.o.Watchdog.Snapshots() {
		if snap != nil && snap.Federation == federation {
			return snap
		}
	}
	return nil
}

// federation is the only one there is, or the question which.
func (s *Slack) federation() (name, question string) {
	all := s.o.Watchdog.Snapshots()
	if len(all) == 1 {
		return all[0].Federation, ""
	}
	names := make([]string, 0, len(all))
	for _, snap := range all {
		names = append(names, "-f "+snap.Federation)
	}
	return "", "Nothing was done: say which federation: " + esc(strings.Join(names, " or ")) + "."
}

// respond answers j's user, where only they see it.
func (s *Slack) respond(ctx context.Context, j job, text string) error {
	text = clip(text, textRunes)
	ctx, cancel := context.WithTimeout(ctx, s.o.Timing.Answer)
	defer cancel()
	var errs []error
	for try := range answerTry {
		if try > 0 {
			sleep(ctx, s.o.Timing.RetryMin<<(try-1))
		}
		if ctx.Err() != nil {
			break
		}
		err := s.postResponse(ctx, j.responseURL, text)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	_, err := s.api.PostEphemeralContext(ctx, j.channel, j.user, api.MsgOptionText(text, false))
	if err == nil {
		return nil
	}
	return errors.Join(append(errs, err)...)
}

// postResponse posts to a response_url, which stands for 30 minutes and
// five answers.
func (s *Slack) postResponse(ctx context.Context, url, text string) error {
	body, err := json.Marshal(map[string]any{"response_type": "ephemeral", "replace_original": false, "delete_original": false, "text": text})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return errors.New("answer over the response_url: it is no address") // the address is a credential
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("answer over the response_url: %w", unwrapURL(err))
	}
	defer resp.Body.Close()
	got, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if resp.StatusCode != http.StatusOK || bytes.Contains(got, []byte(`"ok":false`)) {
		return fmt.Errorf("answer over the response_url: %s %s", resp.Status, clip(string(got), 200))
	}
	return nil
}
