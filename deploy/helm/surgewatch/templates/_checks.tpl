{{/* What a schema cannot say: values that do not go together. */}}
{{- define "surgewatch.check" -}}
{{- $settings := .Values.settings }}
{{- $partitions := int $settings.topic_partitions }}
{{- $_ := required "settings.kafka_bootstrap_servers: where is Kafka? host:port, several joined by commas" $settings.kafka_bootstrap_servers }}
{{- $_ := required "settings.redis_url: where is Redis? redis://host:port/database" $settings.redis_url }}
{{- if regexMatch "://[^/@]*:[^@]*@|[?&]password=" ($settings.redis_url | default "") }}
{{- fail "settings.redis_url holds a password: name a Secret in secrets.redis_password instead" }}
{{- end }}
{{- if and (hasPrefix "SASL" ($settings.kafka_security_protocol | default "")) (not .Values.secrets.kafka_sasl_password) }}
{{- fail (printf "settings.kafka_security_protocol = %s: name a Secret in secrets.kafka_sasl_password" $settings.kafka_security_protocol) }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled $settings.metrics_ssl_certfile (ne (.Values.serviceMonitor.endpoint.scheme | default "http") "https") }}
{{- fail "settings.metrics_ssl_certfile: the metrics speak TLS, so serviceMonitor.endpoint.scheme must be https" }}
{{- end }}
{{- with .Values.autoscaling }}
{{- if .enabled }}
{{- if gt (int .maxReplicaCount) $partitions }}
{{- fail (printf "autoscaling.maxReplicaCount = %d: there are %d partitions (settings.topic_partitions), and a worker without one does nothing" (int .maxReplicaCount) $partitions) }}
{{- end }}
{{- if gt (int .minReplicaCount) (int .maxReplicaCount) }}
{{- fail (printf "autoscaling.minReplicaCount = %d is above maxReplicaCount = %d" (int .minReplicaCount) (int .maxReplicaCount)) }}
{{- end }}
{{- $_ := required "autoscaling.prometheusAddress: where is Prometheus? http://host:port" .prometheusAddress }}
{{- else if gt (int $.Values.replicaCount) $partitions }}
{{- fail (printf "replicaCount = %d: there are %d partitions (settings.topic_partitions), and a worker without one does nothing" (int $.Values.replicaCount) $partitions) }}
{{- end }}
{{- end }}
{{- end }}
