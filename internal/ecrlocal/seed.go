package ecrlocal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"

	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"go.yaml.in/yaml/v3"
)

// Seed is what a server begins with. What exists already is left as it is.
type Seed struct {
	Repositories []SeedRepository `yaml:"repositories"`
	Templates    []SeedTemplate   `yaml:"templates"`
	Settings     []SeedSettings   `yaml:"settings"`
}

// SeedRepository is one repository. Account and region default to the server's.
type SeedRepository struct {
	Name       string            `yaml:"name"`
	Account    string            `yaml:"account"`
	Region     string            `yaml:"region"`
	Tags       map[string]string `yaml:"tags"`
	Mutability string            `yaml:"mutability"`
	Exclusions []string          `yaml:"exclusions"`
	KMSKey     string            `yaml:"kmsKey"`
}

// SeedTemplate is one repository creation template, applied on push unless it says otherwise.
type SeedTemplate struct {
	Prefix     string            `yaml:"prefix"` // "ROOT" or whole path segments
	Account    string            `yaml:"account"`
	Region     string            `yaml:"region"`
	AppliedFor []string          `yaml:"appliedFor"`
	RoleARN    string            `yaml:"roleArn"`
	Tags       map[string]string `yaml:"tags"`
	Mutability string            `yaml:"mutability"`
	Exclusions []string          `yaml:"exclusions"`
}

// SeedSettings are the settings of one registry.
type SeedSettings struct {
	Account      string `yaml:"account"`
	Region       string `yaml:"region"`
	BlobMounting bool   `yaml:"blobMounting"`
}

// LoadSeed reads a seed from a YAML or JSON file. Unknown fields are errors.
func LoadSeed(path string) (*Seed, error) {
	seed := new(Seed)
	if err := loadStrictly(path, seed); err != nil {
		return nil, err
	}
	return seed, nil
}

// LoadCredentials reads a credentials file, YAML or JSON. Unknown fields are errors.
func LoadCredentials(path string) (*Credentials, error) {
	c := new(Credentials)
	if err := loadStrictly(path, c); err != nil {
		return nil, err
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// loadStrictly decodes one YAML document, of which JSON is a kind.
func loadStrictly(path string, into any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	decoder := yaml.NewDecoder(f)
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// plant creates what the seed says and does not exist.
func (s *Server) plant(seed *Seed) error {
	if seed == nil {
		return nil
	}
	for _, r := range seed.Repositories {
		err := s.CreateRepository(r.Name, RepositoryOptions{
			Account: r.Account, Region: r.Region, Tags: r.Tags,
			Mutability: r.Mutability, Exclusions: r.Exclusions, KMSKey: r.KMSKey,
		})
		if err != nil && !hasCode(err, "RepositoryAlreadyExistsException") {
			return fmt.Errorf("repository %q: %w", r.Name, err)
		}
	}
	for _, t := range seed.Templates {
		if err := s.plantTemplate(t); err != nil && !hasCode(err, "TemplateAlreadyExistsException") {
			return fmt.Errorf("template %q: %w", t.Prefix, err)
		}
	}
	for _, setting := range seed.Settings {
		s.SetBlobMounting(setting.Account, setting.Region, setting.BlobMounting)
	}
	return nil
}

func (s *Server) plantTemplate(t SeedTemplate) error {
	mode, exclusions, err := checkMutability(ecrtypes.ImageTagMutability(t.Mutability), exclusionFilters(t.Exclusions))
	if err != nil {
		return err
	}
	tags, err := mergeTags(nil, sortedTagList(t.Tags))
	if err != nil {
		return err
	}
	uses := t.AppliedFor
	if len(uses) == 0 {
		uses = []string{"CREATE_ON_PUSH"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addTemplate(s.state.registry(s.key(t.Account, t.Region)), &template{
		settings: settings{Mutability: mode, Exclusions: exclusions},
		Prefix:   t.Prefix, AppliedFor: uses, RoleARN: t.RoleARN, ResourceTags: tags,
	})
}

// SetBlobMounting switches cross-repository mounts on or off for a registry, as
// PutAccountSetting does. Account and Region default to the server's.
func (s *Server) SetBlobMounting(account, region string, on bool) {
	value := "DISABLED"
	if on {
		value = "ENABLED"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.registry(s.key(account, region)).Settings[blobMounting] = value
	s.changed()
}

// key names a registry; what is empty is the server's default.
func (s *Server) key(account, region string) registryKey {
	return registryKey{Account: cmp.Or(account, s.account), Region: cmp.Or(region, s.region)}
}

func hasCode(err error, code string) bool {
	e, ok := errors.AsType[*apiError](err)
	return ok && e.code == code
}
