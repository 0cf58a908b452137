// An OCPP 1.6 charge point with one connector that obeys every command and shows
// its effect.
import { hashOf } from './hash.mjs';

export function station16(say) {
  const now = () => new Date().toISOString();
  const keys = new Map([
    ['HeartbeatInterval', '300'], ['MeterValueSampleInterval', '60'], ['ConnectionTimeOut', '60'],
    ['SupportedFeatureProfiles', 'Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger'],
    ['ChargingScheduleAllowedChargingRateUnit', 'Current'], ['ChargeProfileMaxStackLevel', '10'],
    ['GetConfigurationMaxKeys', '50'], ['SendLocalListMaxLength', '100'], ['NumberOfConnectors', '1'],
  ]);
  const profiles = new Map(); // id: profile
  const certificates = [];
  let meter = 1000, transaction, tag, list = 0, available = true;

  const status = (status, connectorId = 1) => say('StatusNotification', { connectorId, errorCode: 'NoError', status, timestamp: now() });
  const boot = async () => {
    await say('BootNotification', { chargePointVendor: 'ocpp-rpc', chargePointModel: 'strict', firmwareVersion: '2.2.1', chargePointSerialNumber: 'S-16' });
    await status('Available', 0);
    await status('Available');
  };
  const start = async (idTag) => {
    await status('Preparing');
    tag = idTag;
    const conf = await say('StartTransaction', { connectorId: 1, idTag, meterStart: meter, timestamp: now() });
    transaction = conf?.transactionId;
    await status('Charging');
    await values('Sample.Periodic');
  };
  const values = (context) => say('MeterValues', {
    connectorId: 1,
    ...(transaction && { transactionId: transaction }),
    meterValue: [{ timestamp: now(), sampledValue: [{ value: String(meter += 10), context, measurand: 'Energy.Active.Import.Register', unit: 'Wh' }] }],
  });
  const stop = async (reason) => {
    const id = transaction;
    transaction = undefined;
    await say('StopTransaction', { transactionId: id, meterStop: meter += 500, timestamp: now(), idTag: tag, reason });
    await status('Finishing');
    await status('Available');
  };
  const trigger = {
    BootNotification: boot,
    Heartbeat: () => say('Heartbeat', {}),
    StatusNotification: () => status(available ? 'Available' : 'Unavailable'),
    MeterValues: () => values('Trigger'),
    DiagnosticsStatusNotification: () => say('DiagnosticsStatusNotification', { status: 'Idle' }),
    LogStatusNotification: () => say('LogStatusNotification', { status: 'Idle' }),
    FirmwareStatusNotification: () => say('FirmwareStatusNotification', { status: 'Idle' }),
    SignChargePointCertificate: () => say('SignCertificate', { csr: keys.get('csr') ?? '-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----' }),
  };

  const orders = {
    CancelReservation: () => [{ status: 'Accepted' }, () => status('Available')],
    CertificateSigned: () => [{ status: 'Accepted' }],
    ChangeAvailability: ({ type }) => [{ status: 'Accepted' }, () => {
      available = type === 'Operative';
      return status(available ? 'Available' : 'Unavailable').then(() => status(available ? 'Available' : 'Unavailable', 0));
    }],
    ChangeConfiguration: ({ key, value }) => {
      if (!keys.has(key)) return [{ status: 'NotSupported' }];
      keys.set(key, value);
      return [{ status: 'Accepted' }];
    },
    ClearCache: () => [{ status: 'Accepted' }],
    ClearChargingProfile: ({ id }) => {
      const known = id === undefined ? profiles.size > 0 : profiles.has(id);
      id === undefined ? profiles.clear() : profiles.delete(id);
      return [{ status: known ? 'Accepted' : 'Unknown' }];
    },
    DataTransfer: () => [{ status: 'Accepted', data: 'pong' }],
    DeleteCertificate: ({ certificateHashData: { serialNumber } }) => {
      const at = certificates.findIndex((c) => c.serialNumber === serialNumber);
      if (at >= 0) certificates.splice(at, 1);
      return [{ status: at >= 0 ? 'Accepted' : 'NotFound' }];
    },
    ExtendedTriggerMessage: ({ requestedMessage }) => [{ status: 'Accepted' }, trigger[requestedMessage]],
    GetCompositeSchedule: ({ connectorId, duration }) => {
      const all = [...profiles.values()].map((p) => p.chargingSchedule);
      if (all.length === 0) return [{ status: 'Rejected' }];
      const limit = Math.min(...all.map((s) => s.chargingSchedulePeriod[0].limit));
      return [{ status: 'Accepted', connectorId, scheduleStart: now(), chargingSchedule: { duration, chargingRateUnit: all[0].chargingRateUnit, chargingSchedulePeriod: [{ startPeriod: 0, limit }] } }];
    },
    GetConfiguration: ({ key }) => {
      const asked = key?.length ? key : [...keys.keys()];
      return [{
        configurationKey: asked.filter((k) => keys.has(k)).map((k) => ({ key: k, readonly: k === 'NumberOfConnectors', value: keys.get(k) })),
        unknownKey: asked.filter((k) => !keys.has(k)),
      }];
    },
    GetDiagnostics: () => [{ fileName: 'diagnostics.log' }, async () => {
      await say('DiagnosticsStatusNotification', { status: 'Uploading' });
      await say('DiagnosticsStatusNotification', { status: 'Uploaded' });
    }],
    GetInstalledCertificateIds: () => [certificates.length ? { status: 'Accepted', certificateHashData: certificates } : { status: 'NotFound' }],
    GetLocalListVersion: () => [{ listVersion: list }],
    GetLog: ({ requestId }) => [{ status: 'Accepted', filename: 'log' }, async () => {
      await say('LogStatusNotification', { status: 'Uploading', requestId });
      await say('LogStatusNotification', { status: 'Uploaded', requestId });
    }],
    InstallCertificate: ({ certificate }) => {
      certificates.push(hashOf(certificate));
      return [{ status: 'Accepted' }];
    },
    RemoteStartTransaction: ({ idTag }) => [{ status: 'Accepted' }, () => start(idTag)],
    RemoteStopTransaction: ({ transactionId }) => transactionId === transaction ? [{ status: 'Accepted' }, () => stop('Remote')] : [{ status: 'Rejected' }],
    ReserveNow: () => [{ status: 'Accepted' }, () => status('Reserved')],
    Reset: () => [{ status: 'Accepted' }, boot],
    SendLocalList: ({ listVersion }) => {
      list = listVersion;
      return [{ status: 'Accepted' }];
    },
    SetChargingProfile: ({ csChargingProfiles: p }) => {
      profiles.set(p.chargingProfileId, p);
      return [{ status: 'Accepted' }];
    },
    SignedUpdateFirmware: ({ requestId }) => [{ status: 'Accepted' }, async () => {
      for (const status of ['Downloading', 'Downloaded', 'SignatureVerified', 'Installing', 'Installed']) {
        await say('SignedFirmwareStatusNotification', { status, requestId });
      }
    }],
    TriggerMessage: ({ requestedMessage }) => [{ status: 'Accepted' }, trigger[requestedMessage]],
    UnlockConnector: () => [{ status: 'Unlocked' }],
    UpdateFirmware: () => [{}, async () => {
      for (const status of ['Downloading', 'Downloaded', 'Installing', 'Installed']) {
        await say('FirmwareStatusNotification', { status });
      }
    }],
  };
  return { boot, obey: (action, params) => orders[action](params) };
}
