package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Slack sends to an incoming webhook of Slack's, whose URL is the secret.
type Slack struct{ post *poster }

// NewSlack returns the receiver at an incoming webhook's URL.
func NewSlack(address string) (*Slack, error) {
	p, err := newPoster(address, loopback)
	if err != nil {
		return nil, err
	}
	return &Slack{post: p}, nil
}

// Send implements Sender.
func (s *Slack) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(slackMessage(m))
	if err != nil {
		return fmt.Errorf("encoding the message: %w", err)
	}
	return s.post.post(ctx, body, nil)
}

// maxSection is below the 3000 characters that Slack takes in one section.
const maxSection = 2800

type slackText struct {
	Type  string `json:"type"`
	Text  string `json:"text"`
	Emoji *bool  `json:"emoji,omitempty"`
}

type slackBlock struct {
	Type string    `json:"type"`
	Text slackText `json:"text"`
}

type slackBody struct {
	Text   string       `json:"text"` // of notifications, and of clients without blocks
	Blocks []slackBlock `json:"blocks"`
}

// slackMessage writes the summary as mrkdwn, which holds nothing from outside, and the rest
// as plain text: there a tag cannot be a mention, a link or a format.
func slackMessage(m Message) slackBody {
	body := slackBody{Text: escapeSlack(m.Summary), Blocks: []slackBlock{
		{Type: "section", Text: slackText{Type: "mrkdwn", Text: "*" + escapeSlack(m.Summary) + "*"}},
	}}
	plain := new(bool)
	for _, section := range sections(m.lines()) {
		body.Blocks = append(body.Blocks, slackBlock{Type: "section", Text: slackText{Type: "plain_text", Text: section, Emoji: plain}})
	}
	return body
}

// sections joins escaped lines to texts that Slack takes.
func sections(lines []string) []string {
	var all []string
	for _, line := range lines {
		line = escapeSlack(line)
		if last := len(all) - 1; last >= 0 && len(all[last])+1+len(line) <= maxSection {
			all[last] += "\n" + line
		} else {
			all = append(all, line)
		}
	}
	return all
}

// escapeSlack escapes the three characters with which mentions, links and entities begin.
func escapeSlack(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
