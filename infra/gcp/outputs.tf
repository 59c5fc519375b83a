locals {
  fill_token_command = !local.create_secret ? null : join(" ", [
    "( read -rsp 'Astro API token: ' token && [ -n \"$token\" ] && printf %s \"$token\" |",
    "gcloud secrets versions add ${var.name}-token --project=${var.project} --data-file=- )",
  ])

  # Pub/Sub's defaults for Eventarc's subscriptions (10 s, a day) would cut a push short. The name is asked for, since Eventarc makes it up.
  eventarc_commands = [for trigger in google_eventarc_trigger.this : join(" ", [
    "gcloud pubsub subscriptions update",
    "\"$(gcloud eventarc triggers describe ${trigger.name} --project=${var.project} --location=${trigger.location} --format='value(transport.pubsub.subscription)')\"",
    "--project=${var.project} --ack-deadline=600 --min-retry-delay=${var.retry_min_backoff}s --max-retry-delay=${var.retry_max_backoff}s",
    "--message-retention-duration=${var.message_retention_days}d",
  ])]

  first_run_command = "gcloud scheduler jobs run ${google_cloud_scheduler_job.reconcile.name} --project=${var.project} --location=${google_cloud_scheduler_job.reconcile.region}"
}

output "next_commands" {
  description = "Bash commands to run after the first apply, in this order: store the token, set Eventarc's subscriptions, run every route once."
  value       = concat(local.fill_token_command[*], local.eventarc_commands, [local.first_run_command])
}

output "fill_token_command" {
  description = "Bash command that asks for the Astro API token and stores it in the created secret; null with a token_secret of your own."
  value       = local.fill_token_command
}

output "eventarc_commands" {
  description = "Commands that set deadline, back-off and retention of Eventarc's subscriptions, after the first apply and after each added bucket; empty with Pub/Sub."
  value       = local.eventarc_commands
}

output "first_run_command" {
  description = "Command that runs every route now."
  value       = local.first_run_command
}

output "log_command" {
  description = "Command that prints what the last runs did."
  value       = "gcloud logging read '${local.run_filter}' --project=${var.project} --limit=20 --format='value(timestamp, jsonPayload.route, jsonPayload.outcome, jsonPayload.reason)'"
}

output "dead_letters_command" {
  description = "Command that shows dead letters without removing them; null with Eventarc."
  value       = local.pubsub ? "gcloud pubsub subscriptions pull ${var.name}-dead-letters --project=${var.project} --limit=20" : null
}

output "clear_dead_letters_command" {
  description = "Command that drops the dead letters that are there; null with Eventarc."
  value       = local.pubsub ? "gcloud pubsub subscriptions seek ${var.name}-dead-letters --project=${var.project} --time=$(date -u +%Y-%m-%dT%H:%M:%SZ)" : null
}

output "empty_state_command" {
  description = "Command that empties the state bucket for good, so that a destroy can remove it."
  value       = "gcloud storage rm --recursive --all-versions \"gs://${local.state_bucket}/**\""
}

output "connect_commands" {
  description = "Commands for the owner of each bucket with manage = false, by bucket: read rights for the function, write rights for its status pages, and a notification for each prefix."
  value = {
    for name, b in local.buckets : name => concat(
      ["gcloud storage buckets add-iam-policy-binding gs://${name} --member=${google_service_account.run.member} --role=roles/storage.objectViewer"],
      [for grant in local.status_grants : join(" ", [
        "gcloud storage buckets add-iam-policy-binding gs://${name} --member=${google_service_account.run.member} --role=roles/storage.objectUser",
        "--condition='^:^title=status-pages:expression=${replace(grant.expression, "'", "'\\''")}'",
      ]) if grant.bucket == name],
      # The topic is there, and its grants are the module's: the owner needs no right on it.
      [for n in local.notifications : join(" ", concat([
        "gcloud storage buckets notifications create gs://${name} --topic=projects/${var.project}/topics/${var.name}-events --skip-topic-setup",
        "--payload-format=json --event-types=OBJECT_FINALIZE,OBJECT_DELETE,OBJECT_ARCHIVE",
      ], n.prefix == "" ? [] : ["--object-prefix='${replace(n.prefix, "'", "'\\''")}'"])) if n.bucket == name],
    ) if !b.manage
  }
}

output "prepare_commands" {
  description = "Commands to run once before the first apply in a project where these services were never used: they make Google's service agents."
  value = [
    for service in sort(setunion(
      ["pubsub"],
      local.kms ? ["artifactregistry", "cloudfunctions", "eventarc", "run", "secretmanager"] : [],
      local.eventarc ? ["eventarc"] : [],
    )) : "gcloud beta services identity create --project=${var.project} --service=${service}.googleapis.com"
  ]
}

output "required_apis" {
  description = "Google APIs that are needed; enable_apis enables them."
  value       = sort(local.required_apis)
}

output "config" {
  description = "Content of the configuration file, without addresses of webhooks."
  value       = replace(local.config, "/webhook:https:[^\"]*/", "webhook:https://not-shown.invalid")
}

output "config_url" {
  description = "URL of the configuration file, for DAGBUCKET_CONFIG of the command line."
  value       = local.config_url
}

output "function_name" {
  description = "Name of the function, and of its Cloud Run service."
  value       = google_cloudfunctions2_function.this.name
}

output "function_uri" {
  description = "Address of the function; only the trigger's service account may call it."
  value       = local.function_uri
}

output "state_bucket" {
  description = "Name of the state bucket."
  value       = google_storage_bucket.state.name
}

output "source_buckets" {
  description = "Names of the source buckets that were created."
  value       = sort([for b in google_storage_bucket.source : b.name])
}

output "token_secret" {
  description = "Secret that the Astro API token is read from, where a route names no other."
  value       = local.token_secret
}

output "topic" {
  description = "ID of the topic that buckets notify; null with Eventarc."
  value       = one(google_pubsub_topic.events[*].id)
}

output "subscription" {
  description = "ID of the subscription that calls the function; null with Eventarc."
  value       = one(google_pubsub_subscription.events[*].id)
}

output "dead_letters" {
  description = "ID of the subscription that keeps dead letters; null with Eventarc."
  value       = one(google_pubsub_subscription.dead_letters[*].id)
}

output "run_service_account" {
  description = "E-mail address of the function's service account."
  value       = google_service_account.run.email
}

output "build_service_account" {
  description = "E-mail address of the service account that builds the function."
  value       = google_service_account.build.email
}

output "trigger_service_account" {
  description = "E-mail address of the service account that calls the function."
  value       = google_service_account.trigger.email
}
