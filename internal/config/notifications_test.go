package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

func TestNotifications(t *testing.T) {
	c := mustLoad(t, head+`notifications:
- {name: ops, slack: {url: "${HUB_PASSWORD}"}, on: [failed, recovered], mirrors: team/*, every: 4h}
- {name: hook, webhook: {url: https://hooks.example.com/x, secret: "file:secret.txt"}}
- {name: team, shoutrrr: "file:secret.txt", every: 0s}
`)
	n := c.File.Notifications
	if every, said := n[0].Again(); n[0].Slack.URL.Value().Reveal() != "canary-1" || every != 4*time.Hour || !said || len(n[0].On) != 2 {
		t.Errorf("%+v", n[0])
	}
	if _, said := n[1].Again(); n[1].Webhook.Secret.Value().Reveal() != "canary-2" || said {
		t.Errorf("%+v", n[1])
	}
	if every, said := n[2].Again(); n[2].Shoutrrr.Value().Reveal() != "canary-2" || every != 0 || !said {
		t.Errorf("%+v", n[2])
	}
	shown, err := config.Show(*c)
	if err != nil || strings.Contains(string(shown), "canary") || !strings.Contains(string(shown), "shoutrrr: file:secret.txt") {
		t.Errorf("%v\n%s", err, shown)
	}
	if _, err := load(head+"notifications: []\n", string(shown)); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("what is shown has no secrets to load: %v", err) // a webhook's URL that was written out is redacted
	}
}

func TestNotificationProblems(t *testing.T) {
	tests := []struct{ receiver, want string }{
		{"{name: a}", "nobody is told"},
		{"{webhook: {url: https://x}}", "name is missing"},
		{"{name: a, webhook: {}}", "url is missing"},
		{"{name: a, shoutrrr: '${HUB_PASSWORD}', slack: {url: '${HUB_PASSWORD}'}}", "expected one of them"},
		{"{name: a, slack: {url: https://hooks.slack.com/canary-3}}", "this is a secret, and others read this file"},
		{"{name: a, shoutrrr: 'teams://canary-3'}", "this is a secret, and others read this file"},
		{"{name: a, webhook: {url: https://x, secret: canary-3}}", "this is a secret, and others read this file"},
		{"{name: a, webhook: {url: https://x}, on: [sometimes]}", "expected failed, drift or recovered"},
		{"{name: a, webhook: {url: https://x}, mirrors: ['a b']}", "with * for any text"},
		{"{name: a, webhook: {url: https://x}, every: -1h}", "is not a duration"},
		{"{name: a, webhook: {url: https://x}, when: now}", `unknown key "when"`},
		{"{name: a, webhook: {url: https://x}}\n- {name: a, webhook: {url: https://y}}", `another receiver "a"`},
	}
	for _, test := range tests {
		_, err := load(head + "notifications:\n- " + test.receiver + "\n")
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want %s", test.receiver, err, test.want)
		}
	}
}
