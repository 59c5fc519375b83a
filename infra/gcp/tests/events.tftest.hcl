mock_provider "google" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  project  = "acme-data"
  region   = "europe-west1"
  zip_file = "tests/function.zip"
  routes = [{
    name       = "prod"
    deployment = "clmh57jtm000008lb58fe2wmv"
    sources    = [{ url = "gs://acme-dags/dags/" }]
  }]
}

run "pubsub" {
  command = plan

  assert {
    condition = (
      tolist(keys(google_storage_notification.this)) == tolist(["acme-dags/dags/"]) && google_storage_notification.this["acme-dags/dags/"].bucket == "acme-dags" &&
      google_storage_notification.this["acme-dags/dags/"].object_name_prefix == "dags/" && google_storage_notification.this["acme-dags/dags/"].topic == "projects/acme-data/topics/dagbucket-events" &&
      google_storage_notification.this["acme-dags/dags/"].payload_format == "JSON_API_V1"
    )
    error_message = "The bucket notifies the topic of what happens below the prefix."
  }

  assert {
    condition     = google_storage_notification.this["acme-dags/dags/"].event_types == toset(["OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE"])
    error_message = "Removals count as well."
  }

  assert {
    condition     = google_pubsub_subscription.events[0].ack_deadline_seconds == 600 && google_cloudfunctions2_function.this.service_config[0].timeout_seconds < google_pubsub_subscription.events[0].ack_deadline_seconds
    error_message = "Pub/Sub waits longer than the function may take."
  }

  assert {
    condition     = google_pubsub_subscription.events[0].retry_policy[0].minimum_backoff == "30s" && google_pubsub_subscription.events[0].retry_policy[0].maximum_backoff == "600s"
    error_message = "What failed comes again after 30 s at the earliest."
  }

  assert {
    condition     = google_pubsub_subscription.events[0].dead_letter_policy[0].dead_letter_topic == "projects/acme-data/topics/dagbucket-dead-letters" && google_pubsub_subscription.events[0].dead_letter_policy[0].max_delivery_attempts == 10
    error_message = "After ten attempts an event is a dead letter."
  }

  assert {
    condition = (
      google_pubsub_subscription.events[0].push_config[0].push_endpoint == "https://dagbucket-abcdefghij-ew.a.run.app" &&
      google_pubsub_subscription.events[0].push_config[0].oidc_token[0].audience == google_pubsub_subscription.events[0].push_config[0].push_endpoint &&
      google_pubsub_subscription.events[0].push_config[0].oidc_token[0].service_account_email == "dagbucket-trigger@acme-data.iam.gserviceaccount.com"
    )
    error_message = "Pushes go to the function's run.app address, with a token of the trigger's account."
  }

  assert {
    condition     = google_pubsub_subscription.events[0].expiration_policy[0].ttl == "" && google_pubsub_subscription.dead_letters[0].expiration_policy[0].ttl == ""
    error_message = "A subscription of a quiet bucket is not removed."
  }

  assert {
    condition     = google_pubsub_subscription.events[0].message_retention_duration == "604800s" && google_pubsub_subscription.dead_letters[0].message_retention_duration == "1209600s"
    error_message = "Events wait for a week, dead letters for two."
  }

  assert {
    condition     = length(google_pubsub_subscription.dead_letters[0].push_config) == 0 && google_pubsub_subscription.dead_letters[0].topic == "projects/acme-data/topics/dagbucket-dead-letters"
    error_message = "Dead letters are kept."
  }

  assert {
    condition     = output.clear_dead_letters_command == "gcloud pubsub subscriptions seek dagbucket-dead-letters --project=acme-data --time=$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    error_message = "Dead letters can be dropped once they are read."
  }

  assert {
    condition     = alltrue([for topic in [google_pubsub_topic.events[0], google_pubsub_topic.dead_letters[0]] : topic.message_storage_policy[0].allowed_persistence_regions == toset(["europe-west1"])])
    error_message = "Events stay in the region."
  }

  assert {
    condition     = length(google_eventarc_trigger.this) == 0 && length(google_project_iam_member.trigger_receives) == 0 && length(google_project_iam_member.storage_publishes) == 0
    error_message = "There is nothing of Eventarc, and no grant of its on the project."
  }
}

run "schedule" {
  command = plan

  assert {
    condition     = google_cloud_scheduler_job.reconcile.schedule == "*/5 * * * *" && google_cloud_scheduler_job.reconcile.time_zone == "Etc/UTC" && google_cloud_scheduler_job.reconcile.attempt_deadline == "540s"
    error_message = "Every five minutes, with as much time as the function has."
  }

  assert {
    condition = (
      google_cloud_scheduler_job.reconcile.http_target[0].uri == "https://dagbucket-abcdefghij-ew.a.run.app" && google_cloud_scheduler_job.reconcile.http_target[0].http_method == "POST" &&
      base64decode(google_cloud_scheduler_job.reconcile.http_target[0].body) == "{}" &&
      google_cloud_scheduler_job.reconcile.http_target[0].oidc_token[0].service_account_email == "dagbucket-trigger@acme-data.iam.gserviceaccount.com"
    )
    error_message = "It posts {} with a token of the trigger's account."
  }

  assert {
    condition     = length(google_cloud_scheduler_job.reconcile.retry_config) == 0
    error_message = "It is not retried: the next one comes anyway."
  }
}

run "numbers" {
  command = plan

  variables {
    schedule                   = "0 * * * *"
    scheduler_region           = "europe-west3"
    retry_min_backoff          = 60
    retry_max_backoff          = 300
    max_delivery_attempts      = 5
    message_retention_days     = 1
    dead_letter_retention_days = 31
    state_version_days         = 30
  }

  assert {
    condition = (
      google_cloud_scheduler_job.reconcile.schedule == "0 * * * *" && google_cloud_scheduler_job.reconcile.region == "europe-west3" &&
      google_pubsub_subscription.events[0].retry_policy[0].minimum_backoff == "60s" && google_pubsub_subscription.events[0].retry_policy[0].maximum_backoff == "300s" &&
      google_pubsub_subscription.events[0].dead_letter_policy[0].max_delivery_attempts == 5 && google_pubsub_subscription.events[0].message_retention_duration == "86400s" &&
      google_pubsub_subscription.dead_letters[0].message_retention_duration == "2678400s"
    )
    error_message = "Each setting arrives."
  }

  assert {
    condition     = one(google_storage_bucket.state.lifecycle_rule[0].condition).days_since_noncurrent_time == 30
    error_message = "Old versions stay as long as asked."
  }
}

run "some_prefixes" {
  command = plan

  variables {
    routes = [
      { name = "a", deployment = "a", sources = [{ url = "gs://acme-dags/dags/" }, { url = "gs://acme-dags/dags/team/", mount = "team" }] },
      { name = "b", deployment = "b", sources = [{ url = "gs://acme-dags/dags/" }, { url = "gs://acme-dags/dags_old/" }] },
      { name = "c", deployment = "c", sources = [{ url = "gs://acme-ml/" }] },
    ]
  }

  assert {
    condition     = tolist(keys(google_storage_notification.this)) == tolist(["acme-dags/dags/", "acme-dags/dags_old/", "acme-ml/"])
    error_message = "One notification for a prefix, even if routes share it or another prefix lies within it."
  }

  assert {
    condition     = google_storage_notification.this["acme-ml/"].object_name_prefix == null
    error_message = "A whole bucket has no prefix."
  }

  assert {
    condition     = tolist(keys(google_storage_bucket_iam_member.run_source)) == tolist(["acme-dags", "acme-ml"])
    error_message = "One grant for a bucket."
  }
}

run "many_routes_on_one_bucket" {
  command = plan

  variables {
    routes = [for i in range(30) : { name = "team-${i}", deployment = "deployment-${i}", sources = [{ url = "gs://acme-dags/team-${i}/" }] }]
  }

  assert {
    condition     = tolist(keys(google_storage_notification.this)) == tolist(["acme-dags/"]) && google_storage_notification.this["acme-dags/"].object_name_prefix == null
    error_message = "Cloud Storage takes ten notifications for a kind of event: many prefixes share one."
  }

  assert {
    condition     = length(yamldecode(google_storage_bucket_object.config.content).routes) == 30
    error_message = "Every route is in the file."
  }
}

run "bucket_of_another_project" {
  command = plan

  variables {
    buckets = { acme-dags = { project = "acme-ingest" } }
  }

  assert {
    condition     = tolist(keys(google_pubsub_topic_iam_member.storage)) == tolist(["acme-ingest"])
    error_message = "The agent of the bucket's project publishes, and nobody else."
  }
}

run "bucket_that_names_this_project" {
  command = plan

  variables {
    buckets = { acme-dags = { project = "acme-data" } }
  }

  assert {
    condition     = tolist(keys(google_pubsub_topic_iam_member.storage)) == tolist([""]) && length(data.google_storage_project_service_account.others) == 0
    error_message = "One agent has one grant, whether the project is named or not."
  }
}

run "bucket_left_alone" {
  command = plan

  variables {
    routes = [{
      name       = "prod"
      deployment = "clmh57jtm000008lb58fe2wmv"
      sources    = [{ url = "gs://acme-dags/dags/" }, { url = "gs://acme-dags/dags/team/", mount = "team" }, { url = "gs://acme-dags/it's/", mount = "its" }]
    }]
    buckets = { acme-dags = { project = "acme-ingest", manage = false } }
  }

  assert {
    condition     = length(google_storage_notification.this) == 0 && length(google_storage_bucket_iam_member.run_source) == 0
    error_message = "Nothing of the bucket is touched."
  }

  assert {
    condition     = tolist(keys(google_pubsub_topic_iam_member.storage)) == tolist(["acme-ingest"]) && google_pubsub_topic_iam_member.storage["acme-ingest"].topic == "dagbucket-events"
    error_message = "The topic is the module's: its agent may publish before the owner connects the bucket."
  }

  assert {
    condition = (
      length(output.connect_commands["acme-dags"]) == 3 &&
      strcontains(output.connect_commands["acme-dags"][0], "--member=serviceAccount:dagbucket-run@acme-data.iam.gserviceaccount.com --role=roles/storage.objectViewer") &&
      output.connect_commands["acme-dags"][1] == "gcloud storage buckets notifications create gs://acme-dags --topic=projects/acme-data/topics/dagbucket-events --skip-topic-setup --payload-format=json --event-types=OBJECT_FINALIZE,OBJECT_DELETE,OBJECT_ARCHIVE --object-prefix='dags/'" &&
      endswith(output.connect_commands["acme-dags"][2], "--object-prefix='it'\\''s/'")
    )
    error_message = "Its owner is told what to run: one notification for each outer prefix, and nothing on a topic that is not theirs."
  }
}

run "whole_bucket_left_alone" {
  command = plan

  variables {
    routes  = [{ name = "prod", deployment = "clmh57jtm000008lb58fe2wmv", sources = [{ url = "gs://acme-dags/" }] }]
    buckets = { acme-dags = { manage = false } }
  }

  assert {
    condition     = length(output.connect_commands["acme-dags"]) == 2 && endswith(output.connect_commands["acme-dags"][1], "OBJECT_ARCHIVE")
    error_message = "A whole bucket has no prefix."
  }

  assert {
    condition     = tolist(keys(google_pubsub_topic_iam_member.storage)) == tolist([""])
    error_message = "The agent of this project may publish."
  }
}

run "requester_pays" {
  command = plan

  variables {
    buckets = { acme-dags = { requester_pays = true } }
  }

  assert {
    condition     = google_project_iam_member.run_pays[0].role == "roles/serviceusage.serviceUsageConsumer" && google_project_iam_member.run_pays[0].project == "acme-data"
    error_message = "The function may let this project pay."
  }
}

run "bucket_to_make" {
  command = plan

  variables {
    buckets = { acme-dags = { create = true, location = "EU" } }
  }

  assert {
    condition = (
      google_storage_bucket.source["acme-dags"].location == "EU" && google_storage_bucket.source["acme-dags"].public_access_prevention == "enforced" &&
      google_storage_bucket.source["acme-dags"].uniform_bucket_level_access && !google_storage_bucket.source["acme-dags"].force_destroy
    )
    error_message = "The bucket is private, and no destroy empties it."
  }

  assert {
    condition     = alltrue([for rule in google_storage_bucket.source["acme-dags"].lifecycle_rule : one(rule.action).type == "AbortIncompleteMultipartUpload"])
    error_message = "No rule deletes a DAG file."
  }

  assert {
    condition     = google_storage_notification.this["acme-dags/dags/"].bucket == "acme-dags" && output.source_buckets == tolist(["acme-dags"])
    error_message = "It is connected as an existing one would be."
  }
}

run "bucket_without_a_route" {
  command = plan

  variables {
    buckets = { acme-spare = { create = true } }
  }

  assert {
    condition     = tolist(keys(google_storage_bucket.source)) == tolist(["acme-spare"]) && output.source_buckets == tolist(["acme-spare"])
    error_message = "A created bucket stays when its last route goes."
  }

  assert {
    condition     = tolist(keys(google_storage_bucket_iam_member.run_source)) == tolist(["acme-dags"]) && tolist(keys(google_storage_notification.this)) == tolist(["acme-dags/dags/"])
    error_message = "Nobody reads it, and it wakes nobody."
  }

  assert {
    condition     = output.function_name != "" && can(regex("resource \"google_storage_bucket\" \"source\" \\{(?s:.)*?prevent_destroy = true(?s:.)*?\n\\}", file("${path.module}/storage.tf")))
    error_message = "No plan removes users' files."
  }
}

run "eventarc_bucket_without_a_route" {
  command = plan

  variables {
    trigger = "eventarc"
    buckets = { acme-spare = { create = true } }
  }

  assert {
    condition     = tolist(keys(google_eventarc_trigger.this)) == tolist(["acme-dags/archived", "acme-dags/deleted", "acme-dags/finalized"])
    error_message = "It has no trigger."
  }
}

run "eventarc" {
  command = plan

  variables {
    trigger = "eventarc"
    buckets = { acme-dags = { location = "EU" } }
  }

  assert {
    condition     = tolist(keys(google_eventarc_trigger.this)) == tolist(["acme-dags/archived", "acme-dags/deleted", "acme-dags/finalized"])
    error_message = "One trigger for each kind of event."
  }

  assert {
    condition     = alltrue([for t in google_eventarc_trigger.this : t.location == "eu" && length(t.name) <= 63 && t.service_account == "dagbucket-trigger@acme-data.iam.gserviceaccount.com"])
    error_message = "Each lies where the bucket is."
  }

  assert {
    condition = { for m in google_eventarc_trigger.this["acme-dags/finalized"].matching_criteria : m.attribute => m.value } == {
      type   = "google.cloud.storage.object.v1.finalized"
      bucket = "acme-dags"
    }
    error_message = "It matches this bucket's events."
  }

  assert {
    condition     = google_eventarc_trigger.this["acme-dags/deleted"].destination[0].cloud_run_service[0].service == "dagbucket" && google_eventarc_trigger.this["acme-dags/deleted"].destination[0].cloud_run_service[0].region == "europe-west1"
    error_message = "It calls the function."
  }

  assert {
    condition = (
      google_project_iam_member.storage_publishes[0].member == "serviceAccount:service-123456789012@gs-project-accounts.iam.gserviceaccount.com" &&
      google_project_iam_member.storage_publishes[0].role == "roles/pubsub.publisher" && output.function_name != "" &&
      alltrue([for file in fileset(path.module, "*.tf") : !strcontains(file("${path.module}/${file}"), "roles/eventarc.serviceAgent")])
    )
    error_message = "Cloud Storage's agent has what Eventarc needs; Eventarc's own has it from Google."
  }

  assert {
    condition     = google_project_iam_member.trigger_receives[0].role == "roles/eventarc.eventReceiver" && google_project_iam_member.trigger_receives[0].member == "serviceAccount:dagbucket-trigger@acme-data.iam.gserviceaccount.com"
    error_message = "The trigger's account receives events."
  }

  assert {
    condition     = length(google_pubsub_topic.events) + length(google_pubsub_topic.dead_letters) + length(google_pubsub_subscription.events) + length(google_storage_notification.this) == 0
    error_message = "There is no queue beside it."
  }

  assert {
    condition     = contains(output.required_apis, "eventarc.googleapis.com") && output.topic == null && output.dead_letters_command == null && output.clear_dead_letters_command == null && length(output.prepare_commands) == 2
    error_message = "Outputs tell of Eventarc."
  }

  assert {
    condition = length(output.eventarc_commands) == 3 && output.eventarc_commands[0] == join(" ", [
      "gcloud pubsub subscriptions update \"$(gcloud eventarc triggers describe ${google_eventarc_trigger.this["acme-dags/archived"].name} --project=acme-data --location=eu --format='value(transport.pubsub.subscription)')\"",
      "--project=acme-data --ack-deadline=600 --min-retry-delay=30s --max-retry-delay=600s --message-retention-duration=7d",
    ])
    error_message = "Each subscription gets what Terraform cannot set."
  }

  assert {
    condition     = output.next_commands == concat([output.fill_token_command], output.eventarc_commands, [output.first_run_command])
    error_message = "They are set before the first run."
  }

  assert {
    condition     = tolist(keys(google_monitoring_alert_policy.threshold)) == tolist(["errors", "old-events"]) && strcontains(google_monitoring_alert_policy.threshold["old-events"].conditions[0].condition_threshold[0].filter, "eventarc-.*-dagbucket-")
    error_message = "There are no dead letters to watch, but Eventarc's subscriptions."
  }
}

run "eventarc_agents_left_alone" {
  command = plan

  variables {
    trigger              = "eventarc"
    eventarc_agent_roles = false
  }

  assert {
    condition     = length(google_project_iam_member.storage_publishes) == 0 && alltrue([for t in google_eventarc_trigger.this : t.location == "europe-west1"])
    error_message = "What the project granted before is not the module's to remove."
  }
}
