# Results on object storage, with `--default-storage-provider s3` or profiles/s3.
#
# Snakemake then maps the paths of all rules to the bucket, but those that are marked local(): what
# lies under resources/ and config/ stays on the machine, and only results/ goes there.
#
# in:  records.json.gz in the bucket: how the results there were made, by whatever machine
# out: the same, with what this run has made

if workflow.storage_settings.default_storage_provider == "s3" and workflow.is_main_process:
    from tokentrails.running.bucket import Bucket
    from tokentrails.running.records import FOLDER as RECORDS, merge_records, pack_records

    def exchange_records(give=True):
        """Take over the records of what other machines have made, and give them those of this one."""
        name = "records.json.gz"
        try:
            if packed := BUCKET.read(name):
                # Without this one, Snakemake takes the records for those of an old version.
                RECORDS.with_name("incomplete").mkdir(parents=True, exist_ok=True)
                merge_records(packed, RECORDS, f"{BUCKET.address}/{name}")
            if give:
                BUCKET.write(name, pack_records(RECORDS))
        except TokentrailsError as error:
            raise WorkflowError(str(error)) from None

    # What was typed, or stands in a profile: jobs on other machines look for it in their environment, and get this one.
    os.environ.update(workflow.spawned_job_args_factory.get_storage_provider_envvars())
    BUCKET = Bucket(
        workflow.storage_registry.default_storage_provider.s3c.meta.client,
        workflow.storage_settings.default_storage_prefix or "",
    )
    if BUCKET.name:  # Snakemake says itself that a prefix is missing
        # This also stops, with one message, where the bucket does not answer or is not there: the
        # storage plugin would make it.
        exchange_records(give=False)
        AT_END.append(exchange_records)
