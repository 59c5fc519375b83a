# Bucket → notification → topic → push subscription → function. What fails comes again, and at last becomes a dead letter.

locals {
  bucket_prefixes = { for name in local.source_buckets : name => distinct([for s in local.sources : s.prefix if s.bucket == name]) }

  # A prefix within another one is covered by it.
  outer_prefixes = {
    for name, prefixes in local.bucket_prefixes : name => [
      for p in prefixes : p if !anytrue([for other in prefixes : other != p && startswith(p, other)])
    ]
  }

  # A bucket takes at most 10 notifications for one kind of event, those of others among them: from 6 prefixes on, one tells of the whole bucket.
  notifications = merge([
    for name, prefixes in local.outer_prefixes : {
      for p in length(prefixes) <= 5 ? prefixes : [""] : "${name}/${p}" => { bucket = name, prefix = p }
    }
  ]...)

  # Cloud Storage's agents of all projects with source buckets, with manage = false as well, since the topic is ours. "" is this project, whose name may be
  # known only once it is made.
  publishers = merge(
    {
      for key in toset([for name in local.source_buckets : "" if local.buckets[name].project == null]) :
      key => data.google_storage_project_service_account.this.member
    },
    { for project, account in data.google_storage_project_service_account.others : project => account.member },
  )

  function_uri = google_cloudfunctions2_function.this.service_config[0].uri
}

resource "google_pubsub_topic" "events" {
  count = local.pubsub ? 1 : 0

  project      = var.project
  name         = "${var.name}-events"
  kms_key_name = var.kms_key
  labels       = var.labels

  # Events name files: they stay in the region, as all else does.
  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.agents]
}

resource "google_pubsub_topic" "dead_letters" {
  count = local.pubsub ? 1 : 0

  project      = var.project
  name         = "${var.name}-dead-letters"
  kms_key_name = var.kms_key
  labels       = var.labels

  # Events name files: they stay in the region, as all else does.
  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.this, google_kms_crypto_key_iam_member.agents]
}

resource "google_pubsub_topic_iam_member" "storage" {
  for_each = { for project, member in local.publishers : project => member if local.pubsub }

  project = var.project
  topic   = google_pubsub_topic.events[0].name
  role    = "roles/pubsub.publisher"
  member  = each.value
}

# Each is an object of its own: the bucket's other notifications stay.
resource "google_storage_notification" "this" {
  for_each = { for key, n in local.notifications : key => n if local.pubsub && local.buckets[n.bucket].manage }

  bucket             = local.buckets[each.value.bucket].create ? google_storage_bucket.source[each.value.bucket].name : each.value.bucket
  topic              = google_pubsub_topic.events[0].id
  payload_format     = "JSON_API_V1"
  event_types        = ["OBJECT_FINALIZE", "OBJECT_DELETE", "OBJECT_ARCHIVE"]
  object_name_prefix = each.value.prefix == "" ? null : each.value.prefix

  # Cloud Storage tries to publish when a notification is made.
  depends_on = [google_pubsub_topic_iam_member.storage]
}

resource "google_pubsub_subscription" "events" {
  count = local.pubsub ? 1 : 0

  project = var.project
  name    = "${var.name}-events"
  topic   = google_pubsub_topic.events[0].id
  labels  = var.labels

  # The longest there is: an answer may take as long as the function's time-out.
  ack_deadline_seconds       = 600
  message_retention_duration = "${var.message_retention_days * 86400}s"

  push_config {
    push_endpoint = local.function_uri

    oidc_token {
      service_account_email = google_service_account.trigger.email
      audience              = local.function_uri
    }
  }

  retry_policy {
    minimum_backoff = "${var.retry_min_backoff}s"
    maximum_backoff = "${var.retry_max_backoff}s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters[0].id
    max_delivery_attempts = var.max_delivery_attempts
  }

  # Never: a bucket may be quiet for months.
  expiration_policy {
    ttl = ""
  }

  depends_on = [google_cloud_run_v2_service_iam_member.trigger, google_pubsub_topic_iam_member.dead_letters]
}

# A topic keeps nothing by itself.
resource "google_pubsub_subscription" "dead_letters" {
  count = local.pubsub ? 1 : 0

  project                    = var.project
  name                       = "${var.name}-dead-letters"
  topic                      = google_pubsub_topic.dead_letters[0].id
  labels                     = var.labels
  ack_deadline_seconds       = 60
  message_retention_duration = "${var.dead_letter_retention_days * 86400}s"

  expiration_policy {
    ttl = ""
  }
}

# Pub/Sub's agent moves a message: it publishes to one topic and acknowledges on the other's subscription.

resource "google_pubsub_topic_iam_member" "dead_letters" {
  count = local.pubsub ? 1 : 0

  project = var.project
  topic   = google_pubsub_topic.dead_letters[0].name
  role    = "roles/pubsub.publisher"
  member  = local.agents.pubsub
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  count = local.pubsub ? 1 : 0

  project      = var.project
  subscription = google_pubsub_subscription.events[0].name
  role         = "roles/pubsub.subscriber"
  member       = local.agents.pubsub
}

# Eventarc: one trigger for each bucket and kind of event. It makes topic and subscription itself; eventarc_commands sets their deadline and back-off.

resource "google_project_iam_member" "trigger_receives" {
  count = local.eventarc ? 1 : 0

  project = var.project
  role    = "roles/eventarc.eventReceiver"
  member  = google_service_account.trigger.member
}

# On the project, since Eventarc's topics are not there yet. Eventarc's own agent has its role from Google.
resource "google_project_iam_member" "storage_publishes" {
  count = local.eventarc && var.eventarc_agent_roles ? 1 : 0

  project = var.project
  role    = "roles/pubsub.publisher"
  member  = local.agents.storage

  depends_on = [google_project_service.this]
}

resource "google_eventarc_trigger" "this" {
  for_each = {
    for pair in setproduct(local.managed_buckets, ["archived", "deleted", "finalized"]) :
    "${pair[0]}/${pair[1]}" => { bucket = pair[0], kind = pair[1] } if local.eventarc
  }

  project = var.project
  # Where the bucket is: else Eventarc refuses it.
  location        = lower(coalesce(local.buckets[each.value.bucket].location, var.region))
  name            = "${var.name}-${substr(sha256(each.value.bucket), 0, 8)}-${each.value.kind}"
  service_account = google_service_account.trigger.email
  labels          = var.labels

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.storage.object.v1.${each.value.kind}"
  }

  matching_criteria {
    attribute = "bucket"
    value     = local.buckets[each.value.bucket].create ? google_storage_bucket.source[each.value.bucket].name : each.value.bucket
  }

  destination {
    cloud_run_service {
      service = google_cloudfunctions2_function.this.name
      region  = var.region
    }
  }

  # Both to make and to remove a trigger, Google needs these roles: they come before it and go after it.
  depends_on = [
    google_project_iam_member.storage_publishes,
    google_project_iam_member.trigger_receives,
    terraform_data.grants_settle,
    google_cloud_run_v2_service_iam_member.trigger,
  ]
}

# Events are hints and may be lost: the schedule finds what they missed. It is not retried, since the next one comes anyway.
resource "google_cloud_scheduler_job" "reconcile" {
  project          = var.project
  region           = coalesce(var.scheduler_region, var.region)
  name             = "${var.name}-reconcile"
  description      = "Looks at every source, whatever events there were."
  schedule         = var.schedule
  time_zone        = "Etc/UTC"
  attempt_deadline = "${var.timeout}s"

  http_target {
    http_method = "POST"
    uri         = local.function_uri
    body        = base64encode("{}")

    headers = {
      "Content-Type" = "application/json"
    }

    oidc_token {
      service_account_email = google_service_account.trigger.email
      audience              = local.function_uri
    }
  }

  depends_on = [google_project_service.this, google_cloud_run_v2_service_iam_member.trigger]
}
