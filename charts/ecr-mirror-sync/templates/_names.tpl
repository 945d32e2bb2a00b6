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

{{- define "ecr-mirror-sync.image" -}}
{{- $repository := required "set image.repository to where the image was pushed" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "ecr-mirror-sync.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ecr-mirror-sync.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The labels of an object. Called with a dict: root, and labels of its own. */}}
{{- define "ecr-mirror-sync.labels" -}}
{{- $standard := dict
      "app.kubernetes.io/version" .root.Chart.AppVersion
      "app.kubernetes.io/managed-by" .root.Release.Service
      "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- $selector := include "ecr-mirror-sync.selectorLabels" .root | fromYaml -}}
{{- mustMergeOverwrite $standard .root.Values.commonLabels (.own | default dict) $selector | toYaml }}
{{- end }}

{{/* Name, namespace, labels and annotations of an object. Called with a dict: root, and
where they differ from the common ones, name, labels and annotations. */}}
{{- define "ecr-mirror-sync.metadata" -}}
name: {{ .name | default (include "ecr-mirror-sync.fullname" .root) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "ecr-mirror-sync.labels" (dict "root" .root "own" .labels) | nindent 2 }}
{{- with mustMergeOverwrite (deepCopy .root.Values.commonAnnotations) (.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
