package config

import (
	"slices"
	"time"
)

// A Notification is a receiver of messages about runs.
type Notification struct {
	Name     string   `yaml:"name" is:"name" must:"true" doc:"How logs and the state call the receiver."`
	Webhook  *Webhook `yaml:"webhook" doc:"A URL that gets JSON, signed."`
	Slack    *Slack   `yaml:"slack" doc:"A channel of Slack's."`
	Shoutrrr Secret   `yaml:"shoutrrr" doc:"A URL of a service that the library shoutrrr knows, such as teams://… It is a secret: ${NAME} or file:PATH."`
	On       []string `yaml:"on" is:"notifyEvent" doc:"What to tell: failed, drift and recovered." default:"all of them"`
	Mirrors  []string `yaml:"mirrors" is:"mirrorGlob" doc:"The mirrors to tell of, by the names that reports have for them; * stands for any text." default:"all of them"`
	Every    string   `yaml:"every" is:"duration" doc:"How often trouble that goes on is told again. 0s is for never." default:"what --notify-every says, 24h"`
}

// A Webhook gets messages as JSON.
type Webhook struct {
	URL    Secret `yaml:"url" must:"true" doc:"Where messages are posted to, as a text, ${NAME} or file:PATH."`
	Secret Secret `yaml:"secret" doc:"What messages are signed with, as ${NAME} or file:PATH." default:"none: they are not signed"`
}

// A Slack is an incoming webhook of Slack's.
type Slack struct {
	URL Secret `yaml:"url" must:"true" doc:"The incoming webhook's URL. It is a secret: ${NAME} or file:PATH."`
}

// Again returns how often trouble that goes on is told again, and whether that is said.
func (n Notification) Again() (time.Duration, bool) {
	d, err := time.ParseDuration(n.Every)
	return d, err == nil
}

func (n *Notification) check(r *reader, path string) {
	given := ofWhich(map[string]bool{"webhook": n.Webhook != nil, "slack": n.Slack != nil, "shoutrrr": !n.Shoutrrr.empty()})
	switch {
	case len(given) == 0:
		r.fail(path, "nobody is told", "one of webhook, slack and shoutrrr")
	case len(given) > 1:
		r.fail(path, r.among(path, given)+" are given", "one of them, and a receiver for each")
	}
	n.Shoutrrr.referred(r, path+".shoutrrr")
	if n.Webhook != nil {
		n.Webhook.Secret.referred(r, path+".webhook.secret")
	}
	if n.Slack != nil {
		n.Slack.URL.referred(r, path+".slack.url")
	}
}

// referred notes a secret that is written in the file itself.
func (s Secret) referred(r *reader, path string) {
	if s.reference == "" && s.value != "" {
		r.fail(path, "this is a secret, and others read this file", "${NAME} or file:PATH")
	}
}

// receivers notes names that stand twice: the state knows receivers by them.
func (c *compiler) receivers() {
	var names []string
	for i, n := range c.file.Notifications {
		if slices.Contains(names, n.Name) {
			c.reader.fail("notifications"+label(n.Name, i), "there is another receiver "+quoted(n.Name), "a name of its own")
		}
		names = append(names, n.Name)
	}
}
