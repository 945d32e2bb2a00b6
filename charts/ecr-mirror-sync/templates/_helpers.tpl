{{- define "ecr-mirror-sync.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* Job names append eleven characters to the CronJob's, and may have 63. */}}
{{- define "ecr-mirror-sync.fullname" -}}
{{- $name := include "ecr-mirror-sync.name" . }}
{{- if not (contains $name .Release.Name) }}
{{- $name = printf "%s-%s" .Release.Name $name }}
{{- else }}
{{- $name = .Release.Name }}
{{- end }}
{{- .Values.fullnameOverride | default $name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "ecr-mirror-sync.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "ecr-mirror-sync.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "ecr-mirror-sync.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ecr-mirror-sync.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ecr-mirror-sync.labels" -}}
{{ include "ecr-mirror-sync.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "ecr-mirror-sync.args" -}}
{{- with .Values.ecrMirrorSync -}}
- sync
{{- if .policy }}
- --policy=/etc/ecr-mirror-sync/policy/policy.json
{{- else if .insecurePolicy }}
- --insecure-policy
{{- else }}
{{- fail "say which images are trusted: set ecrMirrorSync.policy, or ecrMirrorSync.insecurePolicy to copy without checking signatures" }}
{{- end }}
- --log-format=json
{{- if .debug }}
- --debug
{{- end }}
{{- if .renderTable }}
- --render-table
{{- end }}
{{- range .regions }}
- {{ printf "--region=%s" . | quote }}
{{- end }}
{{- with .prefix }}
- {{ printf "--prefix=%s" . | quote }}
{{- end }}
{{- with .batch }}
- {{ printf "--batch=%v" . | quote }}
{{- end }}
{{- with .sourceCredsFor }}
- {{ printf "--src-creds-for=%s" . | quote }}
{{- end }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{/* The credentials are read from the environment: arguments show in the process list. */}}
{{- define "ecr-mirror-sync.env" -}}
{{- with .Values.ecrMirrorSync }}
{{- if and .sourceCreds .sourceCredsSecret.name }}
{{- fail "set ecrMirrorSync.sourceCreds or ecrMirrorSync.sourceCredsSecret.name, not both" }}
{{- end }}
{{- if or .sourceCreds .sourceCredsSecret.name }}
- name: ECR_MIRROR_SYNC_SRC_CREDS
  valueFrom:
    secretKeyRef:
      name: {{ .sourceCredsSecret.name | default (include "ecr-mirror-sync.fullname" $) }}
      key: {{ .sourceCredsSecret.key }}
{{- end }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}
