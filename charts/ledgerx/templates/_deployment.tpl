{{/* The Deployment of a part: what `ledgerx.pods` takes, and `scaled`, whether something else chooses the number of pods. */}}
{{- define "ledgerx.deployment" -}}
{{- $part := list .root .part -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "ledgerx.fullname" .root }}-{{ .part }}
  labels:
    {{- include "ledgerx.labels" $part | nindent 4 }}
spec:
  {{- if not .scaled }}
  replicas: {{ (index .root.Values .part).replicas }}
  {{- end }}
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  selector:
    matchLabels:
      {{- include "ledgerx.selector" $part | nindent 6 }}
  template:
    {{- include "ledgerx.pods" . | nindent 4 }}
{{- end -}}
