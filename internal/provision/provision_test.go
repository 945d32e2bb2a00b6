package provision_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
)

func TestDifferences(t *testing.T) {
	has := provision.Settings{
		ResourceTags:    map[string]string{"team": "platform", "owner": "somebody else"},
		ScanOnPush:      new(true),
		Encryption:      provision.Encryption{Type: "KMS", KMSKey: "arn:aws:kms:eu-central-1:111122223333:key/1234"},
		TagMutability:   provision.TagMutability{Mode: "IMMUTABLE_WITH_EXCLUSION", Exclusions: []string{"latest", "dev-*"}},
		LifecyclePolicy: `{"rules": [{"n": 12345678901234567890}]}`,
		Policy:          `{"a":1,"b":2}`,
	}
	tests := []struct {
		name string
		want provision.Settings
		diff []string
	}{
		{"nothing is asked for", provision.Settings{}, nil},
		{"all is as it is to be", has, nil},
		{"other people's resource tags", provision.Settings{ResourceTags: map[string]string{"team": "platform"}}, nil},
		{
			"a resource tag with another value, and one that is missing",
			provision.Settings{ResourceTags: map[string]string{"team": "core", "stage": "prod", "owner": "somebody else"}},
			[]string{"resourceTags is team=platform, and stage=prod, team=core was asked for"},
		},
		{"scanning", provision.Settings{ScanOnPush: new(false)}, []string{"scanOnPush is true, and false was asked for"}},
		{"the order of exclusions", provision.Settings{TagMutability: provision.TagMutability{Mode: "IMMUTABLE_WITH_EXCLUSION", Exclusions: []string{"dev-*", "latest"}}}, nil},
		{
			"other exclusions",
			provision.Settings{TagMutability: provision.TagMutability{Mode: "IMMUTABLE_WITH_EXCLUSION", Exclusions: []string{"dev-*"}}},
			[]string{"tagMutability is IMMUTABLE_WITH_EXCLUSION (dev-* latest), and IMMUTABLE_WITH_EXCLUSION (dev-*) was asked for"},
		},
		{
			"another mode",
			provision.Settings{TagMutability: provision.TagMutability{Mode: "MUTABLE"}},
			[]string{"tagMutability is IMMUTABLE_WITH_EXCLUSION (dev-* latest), and MUTABLE was asked for"},
		},
		{"a key by its id", provision.Settings{Encryption: provision.Encryption{Type: "KMS", KMSKey: "1234"}}, nil},
		{
			"a key that ends alike",
			provision.Settings{Encryption: provision.Encryption{Type: "KMS", KMSKey: "34"}},
			[]string{"encryption is KMS with arn:aws:kms:eu-central-1:111122223333:key/1234, and KMS with 34 was asked for"},
		},
		{"a key by a name that cannot be compared", provision.Settings{Encryption: provision.Encryption{Type: "KMS", KMSKey: "alias/mirrors"}}, nil},
		{"the account's own key", provision.Settings{Encryption: provision.Encryption{Type: "KMS"}}, nil},
		{
			"another encryption",
			provision.Settings{Encryption: provision.Encryption{Type: "KMS_DSSE"}},
			[]string{"encryption is KMS with arn:aws:kms:eu-central-1:111122223333:key/1234, and KMS_DSSE was asked for"},
		},
		{"a document written otherwise", provision.Settings{Policy: "{\n \"b\": 2, \"a\": 1}"}, nil},
		{"another document", provision.Settings{Policy: `{"a": 1}`}, []string{`policy is {"a":1,"b":2}, and {"a":1} was asked for`}},
		{
			"a number that no float holds",
			provision.Settings{LifecyclePolicy: `{"rules":[{"n":12345678901234567891}]}`},
			[]string{`lifecyclePolicy is {"rules":[{"n":12345678901234567890}]}, and {"rules":[{"n":12345678901234567891}]} was asked for`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, d := range provision.Differences(has, tt.want) {
				got = append(got, d.String())
				if d.Fixed() != (d.Setting == provision.EncryptedWith) {
					t.Errorf("%s: fixed %t", d.Setting, d.Fixed())
				}
			}
			if diff := cmp.Diff(tt.diff, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What a repository does not have at all reads as none, and a long document is cut.
func TestDifferencesFromNothing(t *testing.T) {
	want := provision.Settings{
		ResourceTags: map[string]string{"k": "v"}, ScanOnPush: new(true), Encryption: provision.Encryption{Type: "AES256"},
		TagMutability: provision.TagMutability{Mode: "IMMUTABLE"}, LifecyclePolicy: `{"long":"` + strings.Repeat("ä", 500) + `"}`, Policy: `{}`,
	}
	all := provision.Differences(provision.Settings{}, want)
	if len(all) != 6 {
		t.Fatalf("%d differences: %v", len(all), all)
	}
	for _, d := range all {
		none := "none"
		if d.Setting == provision.ScanOnPush {
			none = "false"
		}
		if d.Have != none || len([]rune(d.Want)) > 250 {
			t.Errorf("%s: have %q, want %q", d.Setting, d.Have, d.Want)
		}
	}
}
