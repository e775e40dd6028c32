package slack

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"edgewatch/actions"
	"edgewatch/watchdog/slack/slacktest"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"begins with xoxb-":         func(o *Options) { o.BotToken = actions.NewSecret("hunter2") },
		"begins with xapp-":         func(o *Options) { o.AppToken = o.BotToken },
		"no channel id":             func(o *Options) { o.Channel = "#general" },
		"no user id":                func(o *Options) { o.Users = []string{"anna"} },
		"must begin with a slash":   func(o *Options) { o.Command = "edgewatch" },
		"journal and its cursors":   func(o *Options) { o.Journal = nil },
		"commands need a watchdog":  func(o *Options) { o.Watchdog = nil },
		"\"#ops\" is no channel id": func(o *Options) { o.Channels = []string{"#ops"} },
	} {
		r := newRig(t)
		o := r.options()
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

func TestSecretsStayOutOfLogsAndHealth(t *testing.T) {
	r := newRig(t)
	var log logs
	r.start(t, func(o *Options) {
		o.Log = zerolog.New(&log)
		o.AppToken, o.BotToken = actions.NewSecret("xapp-hunter2"), actions.NewSecret("xoxb-hunter2")
	})
	r.connected(t)
	r.srv.Fail(slacktest.Fault{Method: "response_url", Drop: true})
	r.srv.Fail(slacktest.Fault{Method: "chat.postEphemeral", Status: 500})
	if _, err := r.srv.Type(deadline(t), "U0ANNA", "ack"); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return strings.Contains(log.String(), "did not reach its user") })
	r.add(t, story("contoso-7")...)
	r.srv.Down()
	until(t, func() bool { return r.slack.Health() != nil && strings.Contains(log.String(), "open the websocket") })
	shown := log.String() + r.slack.Health().Error()
	for _, secret := range []string{"hunter2", "/respond/", "ticket="} {
		if strings.Contains(shown, secret) {
			t.Errorf("%q shows in %s", secret, shown)
		}
	}
}
